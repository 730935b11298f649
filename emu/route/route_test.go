package route

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/sys"
	"binproxy/test/lib/need"
)

func TestParse(t *testing.T) {
	for _, name := range []string{"auto", "kernel", "userns", "supervise", "preload", "farm"} {
		r, err := Parse(name)
		require.NoError(t, err)
		assert.Equal(t, name, string(r))
	}
	_, err := Parse("magic")
	assert.ErrorContains(t, err, "known: auto kernel userns supervise preload farm")
}

func TestChoose(t *testing.T) {
	need.Given(t, !sys.Supervised(), "a machine that is not supervised already")
	own, other := []*arch.ABI{arch.Host()}, []*arch.ABI{arch.Get("alpha")}
	for _, c := range []struct {
		name string
		ask  Ask
		want Route
	}{
		{"asked for", Ask{Route: Farm, ABIs: own}, Farm},
		{"asked for, against all reason", Ask{Route: Kernel, ABIs: other}, Kernel},
		{"the kernel runs it", Ask{Route: Auto, ABIs: own}, Kernel},
		{"only the supervisor can", Ask{Route: Auto, ABIs: own, Needs: "--trace"}, Supervise},
		{"told an identity", Ask{Route: Auto, ABIs: own, Spoof: true}, Supervise},
		{"nobody knows what", Ask{Route: Auto}, Supervise},
		{"one of two", Ask{Route: Auto, ABIs: append(own, other...), Root: ""}, Supervise},
	} {
		choice := Choose(c.ask)
		if c.name == "one of two" && Prove(other[0], "") == nil {
			continue // this host has an entry even for that
		}
		assert.Equal(t, c.want, choice.Route, "%s: %s", c.name, choice.Why)
		assert.NotEmpty(t, choice.Why)
	}
}

func TestFallback(t *testing.T) {
	refusal := errors.New("refused")
	choice, ok := Fallback(Ask{Route: Auto}, refusal)
	assert.True(t, ok)
	assert.Equal(t, Farm, choice.Route)
	assert.Contains(t, choice.Why, "refused; going by the farm")
	choice, ok = Fallback(Ask{Route: Auto, Farmless: true}, refusal)
	assert.True(t, ok)
	assert.Equal(t, Farm, choice.Route, "the command itself reaches the emulator")
	assert.Contains(t, choice.Why, "refused; no farm is installed here either")
	assert.NotContains(t, choice.Why, "going by the farm")
	assert.Contains(t, choice.Why, "`binproxy install`")
	choice, ok = Fallback(Ask{Route: Auto, Spoof: true, Hooks: true}, refusal)
	assert.True(t, ok)
	assert.Equal(t, Preload, choice.Route)
	for _, ask := range []Ask{{Route: Supervise}, {Route: Auto, Needs: "--trace"}} {
		_, ok := Fallback(ask, refusal)
		assert.False(t, ok)
	}
}

// A proof in a root without /proc reports that, and leaves no process behind.
func TestProveInARoot(t *testing.T) {
	need.Root(t)
	assert.ErrorContains(t, Prove(arch.Host(), t.TempDir()), "there is no /proc in ")
	assert.NoError(t, Prove(arch.Host(), "/"))
	assert.Error(t, os.NewSyscallError("wait4", waitNothing()))
}

func waitNothing() error {
	_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	return err
}
