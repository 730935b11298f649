package tracee

// Progress is a system call of a thread that takes more than one stop. Each stop of the thread is
// handed to it until it is over.
type Progress interface {
	// Stop makes of a stop what the call asks for. Unless the stop is Foreign it lets the thread
	// go on.
	Stop(stop Stop) (Outcome, error)
	// ToEnd reports whether the thread has to be stopped at the end of the call that it is making.
	ToEnd() bool
	// Drop gives up what the call holds: it is not to go on.
	Drop()
}

// Outcome is what a call in progress makes of a stop.
type Outcome int

// The outcomes.
const (
	Foreign Outcome = iota // the stop is not the call's
	More                   // it is, and the call goes on
	Over                   // it was the last of the call
)
