package tracee

// Progress is a system call of a thread that takes more than one stop. It gets each stop of the
// thread until it is over.
type Progress interface {
	// Stop does what the call needs at a stop. Unless the stop is Foreign, it lets the thread go
	// on.
	Stop(stop Stop) (Outcome, error)
	// ToEnd reports whether the thread must stop at the end of the call that it is making.
	ToEnd() bool
	// Drop releases what the call holds: the call will not go on.
	Drop()
}

// Outcome is what a stop means for a call in progress.
type Outcome int

// The outcomes.
const (
	Foreign Outcome = iota // the stop does not belong to the call
	More                   // it belongs to the call, and the call goes on
	Over                   // it was the call's last stop
)
