package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
)

// A pushed image exists for either platform, with the root's files and the triggers.
func TestBase(t *testing.T) {
	host := arch.Host().Debian
	r := Start(t)
	base := r.Base(t)
	triggered := r.Triggered(t, "onbuild", "RUN true")
	for _, port := range []string{host, Guest} {
		image := r.Image(t, base, port)
		assert.Equal(t, Platform(t, port).String(), image.Platform.String())
		assert.Equal(t, []string{lab.ImagePath}, image.Config.Env)
		assert.Len(t, image.Layers, 1)
		assert.Contains(t, image.Layers[0], "/usr/bin/dash")
		assert.Len(t, image.History, 1)

		on := r.Image(t, triggered, port)
		assert.Equal(t, []string{"RUN true"}, on.Config.OnBuild)
		assert.Equal(t, image.Layers, on.Layers)
	}
	assert.NotEqual(t, r.Image(t, base, host).Layers[0]["/usr/bin/dash"], r.Image(t, base, Guest).Layers[0]["/usr/bin/dash"])
}
