// Package exit holds binproxy's exit statuses and the error that carries one.
//
// The statuses are those of env(1), chroot(1) and docker run. They keep binproxy's own failures
// apart from those of the program that it ran.
package exit

import (
	"errors"
	"fmt"
	"syscall"
)

// The statuses of binproxy itself; every other one is the program's.
const (
	OK        = 0
	Failed    = 125 // binproxy itself failed
	CannotRun = 126 // found, but could not be run
	NotFound  = 127
	Signal    = 128 // plus the number of the signal that ended the program: see Died
)

// Sentinel is an error that callers compare with. As a constant it is not allocated before main,
// even in a room that is compiled without inlining (scripts/build).
type Sentinel string

func (s Sentinel) Error() string { return string(s) }

// Error is an error with the exit status that it ends the process with.
type Error struct {
	Code   int
	Err    error
	Signal syscall.Signal // what the process dies of instead, as the program did; 0 for none
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error as fmt.Errorf makes an error.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// With gives err the status code; nil stays nil.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// Silent is an Error that has nothing to print, because the program that ran has printed it all.
func Silent(code int) error {
	if code == OK {
		return nil
	}
	return &Error{Code: code, Err: errSilent}
}

var errSilent = errors.New("")

// Code is the status that err ends the process with: 0 for nil, Failed for an error without one.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Failed
}

// Message is the text to print for err, "" for none.
func Message(err error) string {
	if err == nil || errors.Is(err, errSilent) {
		return ""
	}
	return err.Error()
}

// Ended is the error for a program's end: nil for status 0.
func Ended(status interface {
	Signaled() bool
	Signal() syscall.Signal
	ExitStatus() int
}) error {
	if status.Signaled() {
		return Died(status.Signal())
	}
	return Silent(status.ExitStatus())
}

// Died is the error for a program that died of a signal. Its status is the one that a shell would
// show, for a process that cannot die of a signal.
func Died(signal syscall.Signal) error {
	return &Error{Signal + int(signal), errSilent, signal}
}

// SignalOf is the signal that err ends the process with, 0 for none.
func SignalOf(err error) syscall.Signal {
	if e := new(Error); errors.As(err, &e) {
		return e.Signal
	}
	return 0
}

// OfExec is the status for an execve that failed with err, as a shell gives it.
func OfExec(err error) int {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return NotFound
	}
	return CannotRun
}
