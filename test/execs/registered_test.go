package execs

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"binproxy/test/lib/need"
)

// A file that closes on exec runs, as on the real architecture, also where the kernel has an entry
// for it. The kernel's own answer is then that of its interpreter, which would not find the file.
func TestRegistered(t *testing.T) {
	need.Root(t)
	b := newBench(t, kinds[0])
	b.nativeTwin(t)
	names := []string{"at", "at script", "descriptor cloexec", "descriptor path", "descriptor script cloexec", "memory", "memory script"}
	for _, c := range cases {
		if !slices.Contains(names, c.name) {
			continue
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == c.name })
		if c.native == "" {
			c.native = "a script is not found here, either"
		}
		b.restore(t)
		want := b.reference(t, c)
		b.restore(t)
		got := b.kernel(t, c.env, append([]string{b.binproxy, "run", "--route", "supervise", "--"}, c.args...)...)
		assert.Equal(t, want.without(c.differs), got.without(c.differs), c.name)
	}
	assert.Empty(t, names)
}
