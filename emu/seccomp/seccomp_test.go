package seccomp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a struct seccomp_data.
type call struct {
	arch, nr uint32
	args     [6]uint64
}

// run runs the filter in a BPF machine. The machine reads the packet big-endian, as network code
// does, so the data is laid out word by word for that: the lower half of an argument first, as on
// a little-endian host.
func run(t *testing.T, filter []unix.SockFilter, c call) Action {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(filter))
	for i, f := range filter {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	program, ok := bpf.Disassemble(raw)
	require.True(t, ok)
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	data := binary.BigEndian.AppendUint32(nil, c.nr)
	data = binary.BigEndian.AppendUint32(data, c.arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range c.args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	got, err := vm.Run(data)
	require.NoError(t, err)
	return Action(got)
}

const (
	x86_64  = unix.AUDIT_ARCH_X86_64
	i386    = unix.AUDIT_ARCH_I386
	aarch64 = unix.AUDIT_ARCH_AARCH64
	x32     = 0x40000000
	cookie  = 0x1122334455667788
)

func TestAssemble(t *testing.T) {
	rules := []Rule{
		{x86_64, 59, &Equal{Arg: 5, Value: cookie}, Notify},
		{x86_64, 59, nil, Trace(1)},
		{x86_64, 322, nil, Trace(2)},
		{x86_64, 520 | x32, nil, Trace(3)},
		{x86_64, 545 | x32, nil, Trace(4)},
		{i386, 11, nil, Trace(5)},
		{i386, 358, nil, Trace(6)},
		{i386, 122, nil, Fail(38)},
	}
	filter, err := Assemble(rules)
	require.NoError(t, err)
	for _, c := range []struct {
		call
		want Action
	}{
		{call{x86_64, 59, [6]uint64{}}, Trace(1)},
		{call{x86_64, 59, [6]uint64{5: cookie}}, Notify},
		{call{x86_64, 59, [6]uint64{5: cookie & 0xffffffff}}, Trace(1)},
		{call{x86_64, 59, [6]uint64{5: cookie &^ 0xffffffff}}, Trace(1)},
		{call{x86_64, 59, [6]uint64{4: cookie}}, Trace(1)},
		{call{x86_64, 322, [6]uint64{5: cookie}}, Trace(2)},
		{call{x86_64, 520 | x32, [6]uint64{}}, Trace(3)},
		{call{x86_64, 545 | x32, [6]uint64{}}, Trace(4)},
		{call{x86_64, 59 | x32, [6]uint64{}}, Allow},
		{call{x86_64, 520, [6]uint64{}}, Allow},
		{call{x86_64, 11, [6]uint64{}}, Allow},
		{call{x86_64, 358, [6]uint64{}}, Allow},
		{call{x86_64, 0xffffffff, [6]uint64{}}, Allow},
		{call{i386, 11, [6]uint64{}}, Trace(5)},
		{call{i386, 358, [6]uint64{}}, Trace(6)},
		{call{i386, 122, [6]uint64{}}, Fail(38)},
		{call{i386, 59, [6]uint64{}}, Allow},
		{call{aarch64, 59, [6]uint64{}}, Allow},
	} {
		t.Run(fmt.Sprintf("%x/%d/%x", c.arch, c.nr, c.args), func(t *testing.T) {
			require.Equal(t, c.want, run(t, filter, c.call))
		})
	}
}

// Each number of a long list gets its own action, and their neighbours none.
func TestAssembleMany(t *testing.T) {
	var rules []Rule
	want := map[uint32]Action{}
	for n := uint32(3); n < 700; n += 1 + n%5 {
		rules = append(rules, Rule{x86_64, n, nil, Trace(uint16(n))})
		want[n] = Trace(uint16(n))
	}
	filter, err := Assemble(rules)
	require.NoError(t, err)
	for n := range uint32(720) {
		expected, ok := want[n]
		if !ok {
			expected = Allow
		}
		require.Equal(t, expected, run(t, filter, call{arch: x86_64, nr: n}), "call %d", n)
	}
}

// A mask hides bits, in either half.
func TestAssembleMask(t *testing.T) {
	filter, err := Assemble([]Rule{
		{x86_64, 2, &Equal{Arg: 1, Value: 0, Mask: 3}, Trace(1)},
		{x86_64, 2, &Equal{Arg: 1, Value: 2, Mask: 3 | 1<<32}, Trace(2)},
		{x86_64, 2, &Equal{Arg: 1, Value: 1 << 32, Mask: 1 << 32}, Trace(3)},
	})
	require.NoError(t, err)
	for value, want := range map[uint64]Action{
		0: Trace(1), 4: Trace(1), 5 << 32: Trace(1), 2: Trace(2), 6 | 2<<32: Trace(2), 2 | 1<<32: Trace(3), 1 | 3<<32: Trace(3), 1: Allow, 3 | 2<<32: Allow,
	} {
		require.Equal(t, want, run(t, filter, call{x86_64, 2, [6]uint64{1: value}}), "%#x", value)
	}
}

func TestAssembleNone(t *testing.T) {
	filter, err := Assemble(nil)
	require.NoError(t, err)
	require.Equal(t, Allow, run(t, filter, call{arch: x86_64, nr: 59}))
}

func TestAssembleRefuses(t *testing.T) {
	_, err := Assemble([]Rule{{x86_64, 1, &Equal{Arg: 6}, Notify}})
	require.Error(t, err)
	var many []Rule
	for n := range uint32(4000) {
		many = append(many, Rule{x86_64, n, nil, Notify})
	}
	_, err = Assemble(many)
	require.ErrorContains(t, err, "4096")
}

func FuzzAssemble(f *testing.F) {
	f.Add([]byte{59, 1, 66, 2, 59, 3}, uint8(59))
	f.Fuzz(func(t *testing.T, spec []byte, nr uint8) {
		var rules []Rule
		want := Allow
		for i := 0; i+1 < len(spec) && len(rules) < 200; i += 2 {
			rules = append(rules, Rule{x86_64, uint32(spec[i]), nil, Trace(uint16(spec[i+1]))})
			if spec[i] == nr && want == Allow {
				want = Trace(uint16(spec[i+1]))
			}
		}
		filter, err := Assemble(rules)
		require.NoError(t, err)
		require.Equal(t, want, run(t, filter, call{arch: x86_64, nr: uint32(nr)}))
	})
}
