package route

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// auto runs a line as a build does that asks for no route.
func (i image) auto(argv ...string) result {
	i.t.Helper()
	return i.start("", argv[0], argv, "BINPROXY_ROUTE=")
}

// TestForms: shells and other commands that no /bin/sh starts are supervised as well, so what they
// execute by built-in paths runs. Who asks for the farm gets it for everything.
func TestForms(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p, "--release", "4.15.0-112-generic")
		i.must("/binproxy/binproxy", "install", "/usr/bin/perl", "/usr/bin/mawk")
		i.write("/script", "#!/usr/bin/perl\nexec '/bin/uname', '-m';\n")
		for _, argv := range [][]string{
			{"/bin/bash", "-o", "pipefail", "-c", "false | true || exec /bin/uname -m"},
			{"/bin/rbash", "-c", "uname -m"},
			{"/bin/dash", "-c", "/bin/cat /dev/null; exec /bin/uname -m"},
			{"/usr/bin/perl", "-e", "print qx(/usr/bin/env -i /bin/uname -m)"},
			{"/usr/bin/awk", `BEGIN { system("/usr/bin/env /bin/uname -m") }`},
			{"/script"},
			{"/binproxy/farm/usr/bin/env", "-i", "/bin/uname", "-m"},
		} {
			r := i.auto(argv...)
			assert.Equal(t, result{p.machine + "\n", "", 0, r.pid}, r, "%q", argv)
		}
		assert.Equal(t, 3, i.auto("/usr/bin/perl", "-e", "exit 3").status)
		assert.Equal(t, 128+15, i.auto("/usr/bin/perl", "-e", "kill 15, $$").status)

		line := []string{"/binproxy/binproxy", "run", "--route", "farm", "--", "bash", "-c", "/bin/bash -c 'perl -e 1'; echo $BINPROXY_ROUTE"}
		r := i.start("", line[0], line, "BINPROXY_ROUTE=", "BINPROXY_DEBUG=1")
		assert.Equal(t, "farm\n", r.stdout, r.stderr)
		assert.Contains(t, r.stderr, "called as /bin/bash")
		assert.NotContains(t, r.stderr, "route supervise")
	})
}

// TestReplaced: programs that know nothing of binproxy replace what install put in place. The next
// lines run nevertheless, with the newer files.
func TestReplaced(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p)
		i.must("/binproxy/binproxy", "install", "/usr/bin/mawk", "/usr/bin/tac")
		sh := func(want, line string) {
			t.Helper()
			r := i.auto("/bin/sh", "-c", line)
			assert.Equal(t, result{want, "", 0, r.pid}, r, line)
		}
		sh("", "rm /bin/sh && ln -s bash /bin/sh")
		sh("5\n", "echo ${BASH_VERSION%%.*}")
		sh("..\n", "ln -sf dash /bin/sh; /bin/sh -c 'echo .$BASH_VERSION.'")
		sh("..\nagain\n", "echo .$BASH_VERSION.; exec /bin/sh -c 'echo again'")
		sh("", "cp /usr/bin/wc /usr/bin/tac.new && mv /usr/bin/tac.new /usr/bin/tac; exit 0")
		assert.Equal(t, "1 /etc/debian_version\n", i.auto("/usr/bin/tac", "-l", "/etc/debian_version").stdout)
		sh("", "dpkg-divert --quiet --local --rename --add /usr/bin/mawk && cp /usr/bin/wc /usr/bin/mawk")
		assert.Equal(t, "1 /etc/debian_version\n", i.auto("/usr/bin/mawk", "-l", "/etc/debian_version").stdout)
		sh("42\n", "mawk.distrib 'BEGIN { print 6 * 7 }'")
		// by a command that no shell starts, and by one that fails
		assert.Equal(t, 9, i.auto("/bin/bash", "-c", "rm /bin/sh; ln -s bash /bin/sh; exit 9").status)
		sh("5\n", "echo ${BASH_VERSION%%.*}")
		sh("", "rm /bin/sh")
		r := i.auto("/bin/sh", "-c", "exit 0")
		assert.Equal(t, -1, r.status)
		assert.Contains(t, r.stderr, "no such file")
	})
}
