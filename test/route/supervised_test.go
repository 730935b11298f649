package route

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A shell that is binproxy has everything supervised, even programs that no link leads to. Links
// of an installed farm lead to the guest's files without binproxy in between.
func TestSupervised(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p)
		i.write("/etc/inner", "#!/usr/bin/perl\nprint qq(inner @ARGV\n)")
		script := `/etc/inner "a b"; /usr/bin/date -u -d @0 +%F; readlink /proc/self/exe || echo none; sh -c 'uname -m; echo $0' name`
		check := func() {
			r := i.start("", "/binproxy/sh", []string{"sh", "-c", script}, "BINPROXY_ROUTE=auto", "BINPROXY_DEBUG=1")
			assert.Contains(t, r.stdout, "inner a b\n1970-01-01\n")
			assert.Contains(t, r.stdout, "\nname\n")
			assert.Contains(t, r.stderr, "exec date: /binproxy/qemu-"+p.qemu)
			assert.NotContains(t, r.stderr, "for /usr/bin/date")
			assert.Equal(t, 0, r.status, r.stderr)
		}
		check()
		i.must("/binproxy/binproxy", "install", "/usr/bin")
		check()
	})
}
