package kernel

import (
	"slices"
	"strings"
)

// Range is the numbers First to Last.
type Range struct{ First, Last uint32 }

// x32Bit marks an x32 call in the number that a program passes, and that seccomp sees.
const x32Bit = 0x40000000

// Unfiltered are the calls that seccomp never sees. They are the kernel's own way to return from a
// probe (x86_64, Linux 6.11 and 6.18), and the kernel lets them through before any filter.
var Unfiltered = [...]string{"uretprobe", "uprobe"}

// noCall is the number -1. The kernel itself answers ENOSYS to it, and tracers use it to skip a
// call: a filter that denied it would overwrite the tracer's answer.
const noCall = 0xffffffff

// Absent gives the numbers that the release answers ENOSYS to, among those that seccomp sees for
// the first ABI of a family (see Family): for x86_64 these include x32's. Ranges ascend and do not
// touch; -1 is in none.
func (r Release) Absent(a *ABI) []Range {
	present := r.present(a, 0)
	if a.Name == "x86_64" {
		present = append(present, r.present(Get("x32"), x32Bit)...)
	}
	return complement(append(present, noCall))
}

// present lists the numbers that the release has, ascending.
func (r Release) present(a *ABI, bit uint32) []uint32 {
	var list []uint32
	for _, row := range a.rows {
		if r.Has(a.call(row)).Has {
			list = append(list, row.nr|bit)
		}
	}
	return slices.Compact(list)
}

func complement(present []uint32) []Range {
	var gaps []Range
	next := uint64(0)
	for _, nr := range present {
		if uint64(nr) > next {
			gaps = append(gaps, Range{uint32(next), nr - 1})
		}
		next = uint64(nr) + 1
	}
	return gaps
}

// AbsentUnder gives the numbers of the host ABI to deny, so that a guest under an emulator sees
// what the release has in the guest's ABI. The emulator turns each call of the guest into the
// host's call of the same name, so only calls that the guest's table names are judged. Calls that
// only the host has (open, for an aarch64 guest) are the emulator's own and stay allowed. See
// Undeniable for what is left.
func (r Release) AbsentUnder(host, guest *ABI) []Range {
	var ranges []Range
	for _, c := range host.Calls() {
		if c.Never() || len(guest.ByName(c.Name)) == 0 || r.HasName(guest, c.Name) {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].Last+1 >= c.Nr {
			ranges[n-1].Last = c.Nr
		} else {
			ranges = append(ranges, Range{c.Nr, c.Nr})
		}
	}
	return ranges
}

// Undeniable names the calls that the release lacks but that qemu-user still gives a guest,
// because it makes them out of older calls of the host: statx, faccessat2, and the time64 calls of
// 32-bit guests. Measured with qemu-user 7.2, by asking for every call of the guest's table.
func (r Release) Undeniable(host, guest *ABI) []string {
	var list []string
	for _, c := range guest.Calls() {
		older := c.Name == "statx" || c.Name == "faccessat2" || strings.HasSuffix(c.Name, "time64") || strings.HasSuffix(c.Name, "adjtime64") || strings.HasSuffix(c.Name, "settime64")
		if older && !r.HasName(guest, c.Name) && (len(host.ByName(c.Name)) == 0 || !strings.HasSuffix(c.Name, "64")) {
			list = append(list, c.Name)
		}
	}
	return list
}

// Beyond names the calls of an ABI that the release promises and host lacks: a program that sees
// the release on host misses them. Calls that mainline has since dropped do not count.
func (r Release) Beyond(host Release, a *ABI) []string {
	var list []string
	for _, c := range a.Calls() {
		if _, dropped := c.Last(); !dropped && r.Has(c).Has && !host.HasName(a, c.Name) {
			list = append(list, c.Name)
		}
	}
	return list
}

// ReleaseWarning is one line about a release that programs of some ABIs see while host runs them:
// the calls that it promises and host lacks. If the tables know none, but the release is above
// host's by its first two numbers, the line says that. Otherwise it is empty.
func ReleaseWarning(release, host string, abis ...*ABI) string {
	if list := beyond(release, host, abis); len(list) > 0 {
		return "release " + release + " promises calls that the running kernel (" + host + ") lacks: " + strings.Join(list, " ")
	}
	promised, _ := leadingNumbers(release)
	running, _ := leadingNumbers(host)
	if len(promised) > 1 && len(running) > 1 && slices.Compare(promised[:2], running[:2]) > 0 {
		return "release " + release + " is above the running kernel's (" + host + "): programs that go by it may use what is not there"
	}
	return ""
}

// beyond is Release.Beyond over several ABIs, each name once. It is empty if Parse does not know
// one of the releases, since programs may be shown anything.
func beyond(release, host string, abis []*ABI) []string {
	promised, err := Parse(release)
	if err != nil {
		return nil
	}
	running, err := Parse(host)
	if err != nil {
		return nil
	}
	var list []string
	for _, a := range abis {
		if a != nil {
			list = append(list, promised.Beyond(running, a)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
