//go:build !amd64 && !arm64

package supervise

import "errors"

// execCalls is empty: no supervisor knows the registers of this host (see Run).
var execCalls []execCall

var (
	numbers64       numbers
	callInstruction = []byte{0}
)

type registers struct{ none uint64 }

func (r *registers) get(int) error              { return errors.ErrUnsupported }
func (r *registers) set(int) error              { return errors.ErrUnsupported }
func (r *registers) arg(*execCall, int) *uint64 { return &r.none }
func (r *registers) sp() *uint64                { return &r.none }
func (r *registers) result() int64              { return 0 }
func (r *registers) setResult(int64)            {}
func (r *registers) replace(int, uint64) error  { return errors.ErrUnsupported }
func (r *registers) skip(int, int64) error      { return errors.ErrUnsupported }
func (r *registers) again(uint64)               {}
func (r *registers) callAt(uint64, uint64)      {}
func (r *registers) finished()                  {}
func (r *registers) ip() uint64                 { return 0 }
