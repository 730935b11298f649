package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// script prints what a container's shell sees of itself: PID 1 of the image's architecture.
const script = `echo pid $$; id -u; uname -mr; /bin/true && echo true; exit 7`

const shown = "pid 1\n0\n" + release + " aarch64\ntrue\n"

// refusing is a seccomp profile that refuses these calls.
func refusing(names ...string) config {
	return config{"defaultAction": "SCMP_ACT_ALLOW", "architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"},
		"syscalls": []config{{"names": names, "action": "SCMP_ACT_ERRNO"}}}
}

func withoutDev(c config) {
	var kept []any
	for _, m := range c["mounts"].([]any) {
		if !strings.HasPrefix(m.(map[string]any)["destination"].(string), "/dev") {
			kept = append(kept, m)
		}
	}
	c["mounts"] = append(kept, config{"destination": "/dev", "type": "bind", "source": "/dev", "options": []string{"rbind"}})
}

// containers are common containers, and the output of the shell in them where it differs from the
// usual one. stderr contains warns.
var containers = []struct {
	name        string
	edit        func(c config)
	says, warns string
}{
	{"read-only", func(config) {}, shown, ""},
	{"writable", func(c config) { c.at("root")["readonly"] = false }, shown, ""},
	{"user", func(c config) { c.at("process")["user"] = config{"uid": 1000, "gid": 1000} }, strings.Replace(shown, "0", "1000", 1), ""},
	{"no capabilities", func(c config) {
		c.at("process")["capabilities"] = config{}
		c.at("process")["user"] = config{"uid": 1000, "gid": 1000}
	}, strings.Replace(shown, "0", "1000", 1), ""},
	{"root without capabilities", func(c config) { c.at("process")["capabilities"] = config{} }, shown, ""},
	{"new privileges", func(c config) { c.at("process")["noNewPrivileges"] = false }, shown, ""},
	{"user namespace", func(c config) {
		linux := c.at("linux")
		linux["namespaces"] = append(linux["namespaces"].([]any), config{"type": "user"})
		maps := []config{{"containerID": 0, "hostID": 100000, "size": 65536}}
		linux["uidMappings"], linux["gidMappings"] = maps, maps
	}, shown, ""},
	{"the host's /dev", withoutDev, shown, ""},
	{"annotations", func(c config) { c["annotations"] = config{"binproxy.release": "5.6.7", "binproxy.twins": "off"} }, strings.Replace(shown, release, "5.6.7", 1), ""},
	{"route", func(c config) { c["annotations"] = config{"binproxy.route": "preload"} }, shown, ""},
	{"no ptrace", func(c config) { c.at("linux")["seccomp"] = refusing("ptrace") }, shown, "going by preload"},
	{"no seccomp", func(c config) { c.at("linux")["seccomp"] = refusing("seccomp") }, shown, "going by preload"},
	{"neither", func(c config) { c.at("linux")["seccomp"] = refusing("seccomp", "ptrace", "prctl") }, shown, "going by preload"},
}

// A foreign container runs as it does by the real runtime where the kernel routes it: as PID 1,
// with the container's user, status and streams. The bundle leaves nothing in its root.
func TestRun(t *testing.T) {
	need.Root(t)
	link, dir := runtimeLink(t), root(t)
	before := names(t, dir)
	for i, r := range reals(t) {
		for j, c := range containers {
			t.Run(r.name+"/"+c.name, func(t *testing.T) {
				if i+j > 0 {
					need.Long(t)
				}
				b := newBundle(t, link, dir, r, func(conf config) {
					conf.args("sh", "-c", script)
					c.edit(conf)
				})
				out, diagnostics, status := b.do("run", b.id)
				assert.Equal(t, c.says, out, diagnostics)
				assert.Equal(t, 7, status, diagnostics)
				assert.Contains(t, diagnostics, c.warns)
				assert.Equal(t, before, names(t, dir))
			})
		}
	}
}

// names are the paths of all files in a root, except for the device files that runtimes leave.
func names(t testing.TB, root string) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "dev" {
			return filepath.SkipDir
		}
		list = append(list, path)
		return err
	}))
	return list
}

// A container that cannot run gets a line with the reason, on stderr and in the log that engines
// read.
func TestErrors(t *testing.T) {
	need.Root(t)
	need.Long(t)
	link, dir := runtimeLink(t), root(t)
	r := reals(t)[0]
	guest := func(c config) { c.args("sh", "-c", "exit 7") }
	for _, c := range []struct {
		name   string
		break_ func(t *testing.T, b bundleDir)
		says   string
	}{
		{"no config.json", func(t *testing.T, b bundleDir) { require.NoError(t, os.Remove(b.dir+"/config.json")) }, "config.json: no such file or directory"},
		{"a broken config.json", func(t *testing.T, b bundleDir) {
			require.NoError(t, os.WriteFile(b.dir+"/config.json", []byte("{"), 0o644))
		}, "config.json: unexpected end of JSON input"},
		{"an emulator is missing", func(t *testing.T, b bundleDir) {
			conf := filepath.Join(filepath.Dir(link), "bundle/binproxy.conf")
			text, err := os.ReadFile(conf)
			require.NoError(t, err)
			emulator := filepath.Join(filepath.Dir(link), "bundle/qemu-aarch64")
			require.NoError(t, os.WriteFile(conf, nil, 0o644))
			require.NoError(t, os.Rename(emulator, emulator+".away"))
			t.Cleanup(func() {
				require.NoError(t, os.WriteFile(conf, text, 0o644))
				require.NoError(t, os.Rename(emulator+".away", emulator))
			})
		}, "sh is a program of aarch64, and the bundle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBundle(t, link, dir, r, guest)
			c.break_(t, b)
			_, diagnostics, status := b.do("--log", "log", "--log-format", "json", "run", b.id)
			assert.Equal(t, 125, status)
			assert.Contains(t, diagnostics, "binproxy: runtime: ")
			assert.Contains(t, diagnostics, c.says)
			log, err := os.ReadFile(b.dir + "/log")
			require.NoError(t, err)
			assert.Contains(t, string(log), `"level":"error"`)
			assert.Contains(t, string(log), c.says)
		})
	}
	// The real runtime has the best error for a missing program.
	b := newBundle(t, link, dir, r, func(c config) { c.args("nonexistent") })
	_, diagnostics, _ := b.do("run", b.id)
	assert.Contains(t, diagnostics, "executable file not found in $PATH")
	// It also handles what has nothing to do with a container.
	out, _, status := b.do("--version")
	assert.Zero(t, status)
	assert.Contains(t, out, "runc version")
}
