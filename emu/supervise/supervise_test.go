package supervise

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTooOld(t *testing.T) {
	for release, want := range map[string]bool{"4.7.10": true, "3.10.0-1160.el7.x86_64": true, "4.8": false, "4.8.0-rc1": false, "6.18.44": false} {
		assert.Equal(t, want, tooOld(release) != nil, release)
	}
}
