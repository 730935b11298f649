package answers

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/kernel"
)

func TestClassify(t *testing.T) {
	filtered, free := Filters{Mode: "filter"}, Filters{Mode: "none"}
	for _, c := range []struct {
		call  string
		a     answer
		f     Filters
		state State
		by    string
	}{
		{"read", answer{errno: syscall.EBADF}, free, Present, ""},
		{"read", answer{errno: 0}, free, Present, ""},
		{"read", answer{errno: syscall.ENOSYS}, free, Absent, ""},
		{"keyctl", answer{errno: syscall.EOPNOTSUPP}, free, Limited, ""},
		{"memfd_create", answer{limit: "it refuses MFD_ALLOW_SEALING"}, free, Limited, ""},
		{"reboot", answer{errno: syscall.EPERM}, free, Present, ""},
		{"reboot", answer{errno: syscall.EPERM}, filtered, Refused, "filter or kernel"},
		{"clone3", answer{errno: syscall.EPERM}, filtered, Refused, "filter"},
		{"clone3", answer{killed: syscall.SIGSYS.String()}, filtered, Refused, "filter"},
		{"exit_group", answer{killed: "it ended"}, free, Present, ""},
		{"exit_group", answer{killed: syscall.SIGSYS.String()}, filtered, Refused, "filter"},
		{"sync", answer{unasked: "slow"}, free, Unasked, ""},
	} {
		r := classify(kernel.Get("x86_64").ByName(c.call)[0], c.a, c.f)
		require.Equal(t, c.state, r.State, "%s %+v", c.call, c.a)
		require.Equal(t, c.by, r.By, "%s %+v", c.call, c.a)
	}
}

// A release and a kernel disagree: a call is compiled out, carried back, or refused.
func TestCompare(t *testing.T) {
	release, err := kernel.Parse("3.10")
	require.NoError(t, err)
	call := func(name string) kernel.Call { return kernel.Get("x86_64").ByName(name)[0] }
	report := Report{Results: []Result{
		{Call: call("read"), State: Present},
		{Call: call("getrandom"), State: Absent},
		{Call: call("kexec_load"), State: Absent},
		{Call: call("seccomp"), State: Present},
		{Call: call("mount"), State: Refused, By: "filter or kernel"},
		{Call: call("ptrace"), State: Refused, By: "filter"},
		{Call: call("sync"), State: Unasked},
	}}
	var found []string
	for _, d := range report.Compare(release) {
		found = append(found, d.Result.Call.Name+" "+strings.Fields(d.Why)[0])
	}
	require.Equal(t, []string{"kexec_load promised,", "seccomp not", "ptrace promised,"}, found)
}

// When a question ends a child, another one continues after that question.
func TestQuestionsThatEndTheChild(t *testing.T) {
	abi := kernel.Of(arch.Host())
	script := `echo here; i=$1; n=0; while [ $((i + n)) -lt ` + "COUNT" + ` ]; do [ $((i + n)) = 7 ] && kill -KILL $$; [ $((i + n)) = 9 ] && exit 3; echo "$((i + n)) "; n=$((n + 1)); done`
	script = strings.ReplaceAll(script, "COUNT", "20")
	answers := map[uint32]answer{}
	list := questions(abi)[:20]
	for next := 0; next < len(list); {
		var err error
		next, err = askFrom(exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(next)), next, list, answers)
		require.NoError(t, err)
	}
	require.Equal(t, "killed", answers[list[7].nr].killed)
	require.Equal(t, "exit status 3", answers[list[9].nr].killed)
	for _, i := range []int{0, 6, 8, 10, 19} {
		require.Equal(t, syscall.Errno(i), answers[list[i].nr].errno)
		require.Empty(t, answers[list[i].nr].killed)
	}
}

// A child that does not start is an error, and not a verdict on the first number.
func TestChildThatDoesNotStart(t *testing.T) {
	_, err := askFrom(exec.Command("/bin/false"), 0, []question{{unknownNr, ""}}, map[uint32]answer{})
	require.ErrorContains(t, err, "exit status 1")
	_, err = askFrom(exec.Command("/nonexistent"), 0, []question{{unknownNr, ""}}, map[uint32]answer{})
	require.ErrorContains(t, err, "start the child")
}

func TestParseAnswer(t *testing.T) {
	a, ok := parseAnswer("22 it refuses MFD_ALLOW_SEALING")
	require.True(t, ok)
	require.Equal(t, answer{answered: true, errno: syscall.EINVAL, limit: "it refuses MFD_ALLOW_SEALING"}, a)
	for _, bad := range []string{"", "x", "-1", "99999999 "} {
		_, ok := parseAnswer(bad)
		require.False(t, ok, bad)
	}
}

// No ABI has a question that would do harm.
func TestNothingHarmfulIsAsked(t *testing.T) {
	for i := range kernel.ABIs() {
		a := &kernel.ABIs()[i]
		list := questions(a)
		for _, name := range []string{"exit", "pause", "sigsuspend", "sync", "vfork"} {
			require.False(t, slices.ContainsFunc(list, func(q question) bool { return q.name == name }), "%s %s", a.Name, name)
		}
	}
	for _, args := range [][]string{nil, {"x86_64"}, {"x86_64", "x"}, {"vax", "0"}, {"x86_64", "-1"}} {
		require.Error(t, Child(args), args)
	}
}
