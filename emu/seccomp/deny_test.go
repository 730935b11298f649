package seccomp_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/kernel"
	"binproxy/emu/seccomp"
)

const (
	goes    = unix.SECCOMP_RET_ALLOW
	refused = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// machine runs a seccomp filter as the kernel's classic BPF does, on a call's number and
// architecture.
func machine(t *testing.T, program []unix.SockFilter, nr, audit uint32) uint32 {
	t.Helper()
	var a uint32
	for pc, steps := 0, 0; pc < len(program); pc, steps = pc+1, steps+1 {
		in := program[pc]
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{0: nr, 4: audit}[in.K]
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			pc += branch(in, a == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			pc += branch(in, a >= in.K)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %d: %+v", pc, in)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

func branch(in unix.SockFilter, yes bool) int {
	if yes {
		return int(in.Jt)
	}
	return int(in.Jf)
}

var hosts = []string{"x86_64", "aarch64", "riscv64", "s390x"}

// For every (ABI, number) pair of a host and ten releases, the filter refuses what the release
// lacks.
func TestDenyByRelease(t *testing.T) {
	for _, text := range []string{"2.6.32", "3.10", "3.10.0-1160.71.1.el7.x86_64", "4.4", "4.18", "rhel8.7", "5.4", "el9.3", "6.1", "7.1"} {
		r, err := kernel.Parse(text)
		require.NoError(t, err)
		for _, host := range hosts {
			program, err := seccomp.Deny(uint16(unix.ENOSYS), denials(r, arch.Get(host))...)
			require.NoError(t, err)
			for _, abi := range kernel.Family(arch.Get(host)) {
				judgeAll(t, r, abi, program, fmt.Sprintf("%s %s", text, abi.Name))
			}
		}
	}
}

func judgeAll(t *testing.T, r kernel.Release, abi *kernel.ABI, program []unix.SockFilter, where string) {
	t.Helper()
	audit, bit := row(abi.Name).Audit(), uint32(0)
	if abi.Name == "x32" {
		bit = 0x40000000
	}
	for nr := uint32(0); nr < 1100; nr++ {
		want := uint32(refused)
		for _, c := range abi.ByNumber(nr) {
			if r.Has(c).Has {
				want = goes
			}
		}
		if got := machine(t, program, nr|bit, audit); got != want {
			t.Errorf("%s: number %d gives %#x, not %#x", where, nr, got, want)
		}
	}
	require.EqualValues(t, refused, machine(t, program, 0x3fffffff, audit), where)
	require.EqualValues(t, goes, machine(t, program, 0xffffffff, audit), where)
	require.EqualValues(t, goes, machine(t, program, 5000, 0x1234), "another architecture")
}

// row is the row of emu/arch for a table.
func row(table string) *arch.ABI {
	if table == "arm" {
		return arch.Get("armhf")
	}
	return arch.Get(table)
}

func denials(r kernel.Release, host *arch.ABI) []seccomp.Denial {
	var list []seccomp.Denial
	for _, abi := range kernel.Family(host) {
		if abi.Name == "x32" {
			continue // its numbers are in x86_64's space
		}
		d := seccomp.Denial{Audit: row(abi.Name).Audit()}
		for _, gap := range r.Absent(abi) {
			d.Ranges = append(d.Ranges, seccomp.Range(gap))
		}
		list = append(list, d)
	}
	return list
}

// Long tables need jumps that do not fit into eight bits.
func TestDenyManyRanges(t *testing.T) {
	var d seccomp.Denial
	for nr := uint32(0); nr < 1500; nr += 3 {
		d.Ranges = append(d.Ranges, seccomp.Range{First: nr + 1, Last: nr + 1})
	}
	program, err := seccomp.Deny(uint16(unix.ENOSYS), d)
	require.NoError(t, err)
	for nr := uint32(0); nr < 1600; nr++ {
		want := uint32(goes)
		if nr%3 == 1 && nr < 1500 {
			want = refused
		}
		require.Equal(t, want, machine(t, program, nr, 0), nr)
	}
	for range 1500 {
		d.Ranges = append(d.Ranges, seccomp.Range{First: d.Ranges[len(d.Ranges)-1].Last + 2, Last: d.Ranges[len(d.Ranges)-1].Last + 2})
	}
	_, err = seccomp.Deny(1, d)
	require.ErrorContains(t, err, "the kernel takes 4096")
}

func TestDenyRefusesBadRanges(t *testing.T) {
	for _, ranges := range [][]seccomp.Range{{{3, 2}}, {{1, 2}, {3, 4}}, {{5, 6}, {1, 2}}, {{0, 0xffffffff}, {0, 1}}} {
		_, err := seccomp.Deny(1, seccomp.Denial{Ranges: ranges})
		require.ErrorContains(t, err, "meets the one before")
	}
}

// Random ranges, against the definition.
func TestDenyRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var d seccomp.Denial
		next := uint32(random.IntN(3))
		for range random.IntN(20) {
			r := seccomp.Range{First: next, Last: next + uint32(random.IntN(4))}
			d.Ranges, next = append(d.Ranges, r), r.Last+2+uint32(random.IntN(5))
		}
		program, err := seccomp.Deny(uint16(unix.ENOSYS), d)
		require.NoError(t, err)
		for nr := uint32(0); nr < 200; nr++ {
			want := uint32(goes)
			for _, r := range d.Ranges {
				if r.First <= nr && nr <= r.Last {
					want = refused
				}
			}
			require.Equal(t, want, machine(t, program, nr, 0), "%v: %d", d.Ranges, nr)
		}
	}
}
