package packages

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUpstream(t *testing.T) {
	for _, c := range []struct{ kind, version, want string }{
		{Dpkg, "12.2.0-14cross1", "12.2.0"}, {Dpkg, "12.2.0-14+deb12u1", "12.2.0"}, {Dpkg, "1:3.8-4", "3.8"}, {Dpkg, "1.21.22", "1.21.22"},
		{Dpkg, "1.34+dfsg-1.2+deb12u1", "1.34+dfsg"}, {Dpkg, "1.0.8-5+b1", "1.0.8"}, {Dpkg, "2.0-rc1-3", "2.0-rc1"},
		{Apk, "12.2.1_git20220924-r10", "12.2.1_git20220924"}, {Apk, "4.9", "4.9"},
		{Rpm, "4.9-1.fc40", "4.9"}, {Rpm, "1:5.4.6-3.el9", "5.4.6"},
	} {
		assert.Equal(t, c.want, Upstream(c.kind, c.version), c.version)
	}
	assert.Equal(t, "1.34", Plain("1.34+dfsg"))
}
