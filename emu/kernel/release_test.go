package kernel_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/kernel"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, uname, describe string }{
		{"3.10", "3.10.0", "mainline 3.10"},
		{"v6.1.5", "6.1.5", "mainline 6.1"},
		{"2.6.32.71", "2.6.32.71", "mainline 2.6.32"},
		{"2.6.18-398.el5", "2.6.18-398.el5", "mainline 2.6.32, which stands in for an older one"},
		{"7.9", "7.9.0", "mainline 7.2, which stands in for a newer one"},
		{"3.10.0-1160.71.1.el7.x86_64", "3.10.0-1160.71.1.el7.x86_64", "mainline 3.10 with the backports of el7.9"},
		{"3.10.0-1160", "3.10.0-1160", "mainline 3.10 with the backports of el7.9"},
		{"3.10.0-700.el7.x86_64", "3.10.0-700.el7.x86_64", "mainline 3.10 with the backports of el7.3"},
		{"3.10.0-123.el7.x86_64", "3.10.0-123.el7.x86_64", "mainline 3.10"},
		{"3.10.0-1160-generic", "3.10.0-1160-generic", "mainline 3.10"},
		{"5.14.0-362.8.1.el9_3.x86_64", "5.14.0-362.8.1.el9_3.x86_64", "mainline 5.14 with the backports of el9.3"},
		{"6.1.0-13-amd64", "6.1.0-13-amd64", "mainline 6.1"},
		{"5.15.153.1-microsoft-standard-WSL2", "5.15.153.1-microsoft-standard-wsl2", "mainline 5.15"},
		{"el7", "3.10.0-1160.el7.x86_64", "mainline 3.10 with the backports of el7.9 (rhel 7.9, 3.10.0-1160)"},
		{"centos7", "3.10.0-1160.el7.x86_64", "mainline 3.10 with the backports of el7.9 (rhel 7.9, 3.10.0-1160)"},
		{"rhel8.4", "4.18.0-305.el8.x86_64", "mainline 4.18 with the backports of el8.4 (rhel 8.4, 4.18.0-305)"},
		{"RHEL-8.4", "4.18.0-305.el8.x86_64", "mainline 4.18 with the backports of el8.4 (rhel 8.4, 4.18.0-305)"},
		{"alma9", "5.14.0-570.el9.x86_64", "mainline 5.14 with the backports of el9.6 (rhel 9.6, 5.14.0-570)"},
		{"rockylinux:9.3", "5.14.0-362.el9.x86_64", "mainline 5.14 with the backports of el9.3 (rhel 9.3, 5.14.0-362)"},
		{"ubuntu-22.04", "5.15.0", "mainline 5.15 (ubuntu 22.04, 5.15.0)"},
		{"ubuntu22.04-hwe", "6.8.0", "mainline 6.8 (ubuntu 22.04-hwe, 6.8.0)"},
		{"jammy", "5.15.0", "mainline 5.15 (ubuntu 22.04, 5.15.0)"},
		{"debian-12", "6.1.0", "mainline 6.1 (debian 12)"},
		{"debian:12", "6.1.0", "mainline 6.1 (debian 12)"},
		{"bookworm", "6.1.0", "mainline 6.1 (debian 12)"},
		{"alpine-3.19", "6.6.0", "mainline 6.6 (alpine 3.19)"},
		{"alpine-3.1", "3.14.0", "mainline 3.14 (alpine 3.1)"},
		{"amzn2", "4.14.0", "mainline 4.14 (amazon 2)"},
		{"al2023", "6.1.0", "mainline 6.1 (amazon 2023)"},
		{"sles-15-sp4", "5.14.0", "mainline 5.14 (sles 15.4)"},
		{"sles12", "4.12.0", "mainline 4.12 (sles 12.5)"},
		{"android-13", "5.15.0", "mainline 5.15 (android-common 13)"},
	} {
		r, err := kernel.Parse(c.text)
		require.NoError(t, err, c.text)
		require.Equal(t, c.uname, r.Uname("x86_64"), c.text)
		require.Equal(t, c.describe, r.Describe(kernel.Get("x86_64")), c.text)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "printable", "3": "two numbers", "3.99": "no such mainline", "4.21": "no such mainline", "2.6": "third number", "fedora-40": "not a version",
		"rhel11": "of rhel these are known: 6.0", "ubuntu-22": "22.04", "3.10 x": "printable", strings.Repeat("3", 65): "printable", "el": "not a version",
		"99999999999999999999.1": "two numbers",
	} {
		_, err := kernel.Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

// Vendors carry calls back, and compile some out.
func TestHas(t *testing.T) {
	for _, c := range []struct {
		release, abi, call string
		has                bool
		profile            string
	}{
		{"3.10", "x86_64", "getrandom", false, ""},
		{"3.10", "x86_64", "finit_module", true, ""},
		{"3.17", "x86_64", "getrandom", true, ""},
		{"el7", "x86_64", "getrandom", true, "el7.9"},
		{"el7", "x32", "getrandom", true, "el7.9"},
		{"el7", "x86_64", "pidfd_open", false, ""},
		{"3.10.0-123.el7.x86_64", "x86_64", "getrandom", false, ""},
		{"3.10.0-1160.el7.x86_64", "i386", "getrandom", true, "el7.9"},
		{"el8.4", "x86_64", "io_uring_setup", false, "el8.4"},
		{"el8.7", "x86_64", "openat2", true, "el8.7"},
		{"el8.6", "x86_64", "openat2", false, ""},
		{"el9.6", "x86_64", "landlock_add_rule", true, ""},
		{"el9.0", "x86_64", "landlock_add_rule", false, "el9.0"},
		{"5.14", "x86_64", "landlock_add_rule", true, ""},
		{"6.1", "x86_64", "uselib", false, ""},
		// of a vendor without a kernel for the ABI: its programs run by an emulator
		{"3.10.0-1160.71.1.el7.x86_64", "aarch64", "getrandom", true, "el7.9"},
		{"3.10.0-1160.71.1.el7.x86_64", "arm", "memfd_create", true, "el7.9"},
		{"el7", "mips_n64", "userfaultfd", true, "el7.9"},
		{"el7", "aarch64", "pidfd_open", false, ""},
		{"3.10.0-123.el7.x86_64", "aarch64", "getrandom", false, ""},
		{"el7.1", "i386", "renameat2", false, ""}, // a later one was read
		{"4.18.0-80.el8.x86_64", "aarch64", "openat2", false, ""},
		{"el8.7", "mips_o32", "openat2", true, "el8.7"},
		{"el6", "aarch64", "setns", false, ""}, // there was no such port
		{"3.0", "mips_o32", "setns", true, ""},
		{"3.6", "aarch64", "read", false, ""},
		{"3.10", "x86_64", "create_module", false, ""},
	} {
		r, err := kernel.Parse(c.release)
		require.NoError(t, err)
		a := kernel.Get(c.abi)
		require.Equal(t, c.has, r.HasName(a, c.call), "%s %s %s", c.release, c.abi, c.call)
		if calls := a.ByName(c.call); len(calls) == 1 {
			answer := r.Has(calls[0])
			require.Equal(t, c.profile, answer.Profile, "%s %s %s", c.release, c.abi, c.call)
			require.NotEmpty(t, answer.Source)
		}
	}
}

// The absent and the present numbers fill the space of numbers, and do not overlap.
func TestAbsent(t *testing.T) {
	for _, text := range []string{"2.6.32", "3.10", "el7", "4.4", "el8.4", "5.4", "5.14", "el9.3", "6.12", "7.1"} {
		r, err := kernel.Parse(text)
		require.NoError(t, err)
		for _, name := range []string{"x86_64", "i386", "aarch64", "arm", "riscv64"} {
			a := kernel.Get(name)
			ranges := r.Absent(a)
			for i := 1; i < len(ranges); i++ {
				require.Greater(t, uint64(ranges[i].First), uint64(ranges[i-1].Last)+1)
			}
			for _, c := range a.Calls() {
				require.Equal(t, !presentUnder(r, a, c.Nr), in(ranges, c.Nr), "%s %s %d", text, name, c.Nr)
			}
			require.False(t, in(ranges, 0xffffffff))
			require.True(t, in(ranges, 0xfffffffe))
		}
	}
	r, err := kernel.Parse("3.10")
	require.NoError(t, err)
	ranges := r.Absent(kernel.Get("x86_64"))
	require.False(t, in(ranges, 0x40000000+39), "x32 getpid")
	require.False(t, in(ranges, 0x40000000+513), "x32 rt_sigreturn")
	require.True(t, in(ranges, 0x40000000+318), "x32 getrandom")
	require.True(t, in(ranges, 513), "an x32 number without the bit")
}

func presentUnder(r kernel.Release, a *kernel.ABI, nr uint32) bool {
	for _, c := range a.ByNumber(nr) {
		if r.Has(c).Has {
			return true
		}
	}
	return false
}

func in(ranges []kernel.Range, nr uint32) bool {
	for _, r := range ranges {
		if r.First <= nr && nr <= r.Last {
			return true
		}
	}
	return false
}

// Under an emulator, only calls that the guest could have made are denied.
func TestAbsentUnder(t *testing.T) {
	r, err := kernel.Parse("3.10")
	require.NoError(t, err)
	x, arm64 := kernel.Get("x86_64"), kernel.Get("aarch64")
	ranges := r.AbsentUnder(x, arm64)
	require.True(t, in(ranges, x.ByName("pidfd_open")[0].Nr))
	require.True(t, in(ranges, x.ByName("getrandom")[0].Nr))
	require.False(t, in(ranges, x.ByName("open")[0].Nr), "aarch64 has no open: it is the emulator's")
	require.False(t, in(ranges, x.ByName("read")[0].Nr))
	require.False(t, in(ranges, 10000), "the emulator may call what it likes")
	require.Equal(t, []string{"statx", "faccessat2"}, r.Undeniable(x, arm64))
	require.Contains(t, r.Undeniable(x, kernel.Get("arm")), "clock_gettime64")

	// A vendor's backports are the guest's, too.
	r, err = kernel.Parse("3.10.0-1160.71.1.el7.x86_64")
	require.NoError(t, err)
	for _, guest := range []string{"aarch64", "arm", "s390x", "mips_o32"} {
		ranges := r.AbsentUnder(x, kernel.Get(guest))
		for _, call := range []string{"getrandom", "memfd_create"} {
			require.False(t, in(ranges, x.ByName(call)[0].Nr), "%s %s", guest, call)
		}
		require.True(t, in(ranges, x.ByName("pidfd_open")[0].Nr), guest)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"3.10", "3.10.0-1160.71.1.el7.x86_64", "el7", "rhel8.4", "ubuntu-22.04", "debian-12", "sles15sp4", "v2.6.32.71", "4.15.0-200-generic", "al2023", "1.", "2.6.", "3.10.0-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := kernel.Parse(text)
		if err != nil {
			return
		}
		if r.Base > kernel.Newest() || len(r.Uname("x86_64")) > 90 {
			t.Errorf("%q: base %d, uname %q", text, r.Base, r.Uname("x86_64"))
		}
		r.Describe(kernel.Get("x86_64"))
		r.Absent(kernel.Get("i386"))
	})
}

// A release of another kernel may promise what its host lacks.
func TestBeyond(t *testing.T) {
	a := kernel.Get("x86_64")
	beyond := func(release, host string) []string {
		s, err := kernel.Parse(release)
		require.NoError(t, err)
		h, err := kernel.Parse(host)
		require.NoError(t, err)
		return s.Beyond(h, a)
	}
	require.Empty(t, beyond("3.10", "6.1"))
	require.Empty(t, beyond("5.3", "5.3"))
	require.Equal(t, []string{"pidfd_open", "clone3"}, beyond("5.3", "5.2"))
	require.NotContains(t, beyond("3.17", "el7"), "getrandom")
	require.Contains(t, beyond("el8.7", "4.18"), "openat2")
}

func TestReleaseWarning(t *testing.T) {
	a := kernel.Get("aarch64")
	const lacks = "release 5.3 promises calls that the running kernel (5.2.0-1) lacks: clone3 pidfd_open"
	require.Equal(t, lacks, kernel.ReleaseWarning("5.3", "5.2.0-1", a))
	require.Equal(t, lacks, kernel.ReleaseWarning("5.3", "5.2.0-1", kernel.Get("x86_64"), nil, a), "each call once")
	for _, quiet := range [][2]string{
		{"4.15.0-112-generic", "6.1.0-13-amd64"}, {"6.1.200", "6.1.137"}, {"anything", "6.1.0"}, {"6.1", "anything"}, {"6.1", "6.1"},
	} {
		require.Empty(t, kernel.ReleaseWarning(quiet[0], quiet[1], a), "%v", quiet)
	}
	// The tables know of nothing between these, or there was no such release; Go's runtime goes by
	// the number alone.
	for _, above := range [][2]string{{"4.10", "4.9.1"}, {"99.1", "98.1"}, {"3.99", "3.10"}} {
		require.Equal(t, "release "+above[0]+" is above the running kernel's ("+above[1]+"): programs that go by it may use what is not there",
			kernel.ReleaseWarning(above[0], above[1], a))
	}
}
