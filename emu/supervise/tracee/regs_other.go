//go:build !amd64 && !arm64

package tracee

import "errors"

// Execs is empty: no supervisor knows this host's registers.
var Execs []Call

var clones []Call

// ABI64 is no ABI here.
var ABI64 = &ABI{}

// CallInstruction is empty here.
var CallInstruction = []byte{0}

// Registers are empty here.
type Registers struct{ none uint64 }

func (r *Registers) get(int) error             { return errors.ErrUnsupported }
func (r *Registers) set(int) error             { return errors.ErrUnsupported }
func (r *Registers) replace(int, uint64) error { return errors.ErrUnsupported }
func (r *Registers) skip(int, int64) error     { return errors.ErrUnsupported }
func (r *Registers) callAt(uint64, uint64)     {}

// Arg, and the methods after it, belong to no call.
func (r *Registers) Arg(*ABI, int) *uint64 { return &r.none }

// SP is 0.
func (r *Registers) SP() *uint64 { return &r.none }

// Result is 0.
func (r *Registers) Result() int64 { return 0 }

// SetResult does nothing.
func (r *Registers) SetResult(int64) {}

// Finished does nothing.
func (r *Registers) Finished() {}

// Instruction is 0.
func (r *Registers) Instruction() uint64 { return 0 }
