package twin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Releases as vendors write them have numbers at the front, two at least.
func TestCheckKernel(t *testing.T) {
	for _, c := range []struct {
		need, have string
		fits       bool
	}{
		{"3.2.0", "3.2.0", true},
		{"3.2.0", "3.2", true},
		{"3.2.0", "3.1.99-generic", false},
		{"3.2.0", "3.10.0-1160.el7.x86_64", true},
		{"4.19.1", "4.19-rc7", false},
		{"4.19.1", "4.19.2.7", true},
		{"4.19.1", "none", true},
		{"4.19.1", "3", true},
		{"", "3.2.0", true},
	} {
		err := (&Set{Kernel: c.need}).CheckKernel(c.have)
		if c.fits {
			require.NoError(t, err, "%+v", c)
		} else {
			require.ErrorContains(t, err, "need Linux "+c.need, "%+v", c)
		}
	}
}
