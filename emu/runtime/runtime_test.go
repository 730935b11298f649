package runtime

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/emulator"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string
		name    string
		operand int
		option  string // one to be asked for, with its value behind "="
	}{
		{"", "", 0, "log="},
		{"--version", "", 1, "version="},
		{"create --bundle /b id", "create", 3, "bundle=/b"},
		{"--root /r --log=/l --log-format json --systemd-cgroup create -b /b --no-pivot --pid-file /p id", "create", 12, "log=/l"},
		{"--root /r create --bundle=/b id", "create", 4, "bundle=/b"},
		{"run --detach -b /b -- id", "run", 5, "b=/b"},
		{"run", "run", 1, "bundle="},
		{"--rootless true exec --process /f id", "exec", 5, "process=/f"},
		{"exec -e A=b --tty -u 5 id sh -c true", "exec", 6, "u=5"},
		{"exec -p /f -d --pid-file=/p id", "exec", 5, "p=/f"},
		{"exec --cap CAP_KILL id -x", "exec", 3, "cap=CAP_KILL"},
		{"delete --force id", "delete", 3, "root="},
		{"--log", "", 1, "log="},
	} {
		args := strings.Fields(c.args)
		l := parse(args)
		assert.Equal(t, c.name, l.name, c.args)
		assert.Equal(t, c.operand, l.operand, c.args)
		name, value, _ := strings.Cut(c.option, "=")
		assert.Equal(t, value, last(append(l.options, l.own...), name).value, c.args)
	}
}

// A call for help reaches the real runtime: it needs no config.json.
func TestNoContainer(t *testing.T) {
	_, w := testContainer(t)
	for _, args := range []string{"run --help", "create -h", "run"} {
		assert.NoError(t, w.create(parse(strings.Fields(args))), args)
	}
	assert.Error(t, w.create(parse([]string{"run", "id"})))
}

func TestPlace(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"mnt/full", "media"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(t, os.Symlink("media", filepath.Join(root, "srv")))
	tmpfs := func(at string, options ...string) mount {
		return mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	bind := func(at string) mount {
		return mount{Destination: at, Type: "bind", Source: "/x", Options: []string{"rbind"}}
	}
	for _, c := range []struct {
		mounts []mount
		want   string
	}{
		{[]mount{tmpfs("/dev"), tmpfs("/run")}, "/dev/.binproxy"},
		// the runtime makes /dev read-only after all that is mounted on it
		{[]mount{tmpfs("/dev", "ro")}, "/dev/.binproxy"},
		{[]mount{bind("/dev"), tmpfs("/dev/shm"), tmpfs("/run")}, "/run/.binproxy"},
		{[]mount{tmpfs("/dev"), bind("/dev"), tmpfs("/volume")}, "/volume/.binproxy"},
		{[]mount{tmpfs("/run", "ro"), tmpfs("/run/user"), bind("/run")}, "/media"},
		{[]mount{tmpfs("/run", "ro")}, "/media"},
		{[]mount{bind("/media")}, ""},
	} {
		s := &spec{path: root + "/config.json"}
		require.NoError(t, json.Unmarshal([]byte(`{"root":{"path":"."}}`), &s.read))
		s.read.Mounts = c.mounts
		got, err := place(s)
		assert.Equal(t, c.want, got, "%v", c.mounts)
		assert.Equal(t, c.want == "", err != nil)
	}
}

// testContainer makes a root with programs, and gives a wrapper whose bundle has an emulator for
// aarch64 only.
func testContainer(t testing.TB) (dir string, w *Wrapper) {
	t.Helper()
	dir = t.TempDir()
	file := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o755))
	}
	file("rootfs/usr/bin/guest", tiny.Program(arch.Get("aarch64")))
	file("rootfs/usr/bin/native", tiny.Program(arch.Host()))
	file("rootfs/usr/bin/s390x", tiny.Program(arch.Get("s390x")))
	file("rootfs/opt/script", []byte("#!/bin/sh\n"))
	file("rootfs/opt/text", []byte("text\n"))
	file("volume/init", tiny.Program(arch.Host()))
	file("volume/guest", tiny.Program(arch.Get("aarch64")))
	file("bundle/"+config.Binary, nil)
	file("bundle/qemu-aarch64", nil)
	for name, target := range map[string]string{"bin": "usr/bin", "usr/bin/sh": "/etc/alternatives/sh", "etc/alternatives/sh": "/usr/bin/guest"} {
		path := filepath.Join(dir, "rootfs", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.Symlink(target, path))
	}
	bundle := filepath.Join(dir, "bundle")
	c := config.Config{Dir: bundle, Emulators: []emulator.Emulator{{QEMU: "aarch64", Path: "qemu-aarch64"}}}
	require.NoError(t, c.Save())
	return dir, &Wrapper{Bundle: bundle, config: c}
}

// The program that a container is for is found by PATH, links, scripts and mounts.
func TestGuest(t *testing.T) {
	dir, w := testContainer(t)
	bind := func(at, source string) mount {
		return mount{Destination: at, Type: "bind", Source: filepath.Join(dir, "volume", source), Options: []string{"rbind", "ro"}}
	}
	const path = "PATH=/nowhere:/usr/bin"
	for _, c := range []struct {
		args   string
		cwd    string
		mounts []mount
		want   string
	}{
		{"guest", "/", nil, "aarch64"},
		{"/bin/sh -c true", "/", nil, "aarch64"},
		{"./script", "/opt", nil, "aarch64"},
		{"../bin/native", "/usr/bin", nil, ""},
		{"native sh", "/", nil, ""},
		{"text", "/", nil, ""},
		{"/opt/text", "/not/there", nil, ""},
		{"none", "/", nil, ""},
		{"s390x", "/", nil, "/s390x is a program of s390x, and the bundle"},
		// an engine's init is mounted, and starts the arguments after it
		{"/sbin/init -- guest", "/", []mount{bind("/sbin/init", "init")}, "aarch64"},
		{"/volume/init", "/", []mount{bind("/volume", "")}, "aarch64"},
		{"./guest", "/volume", []mount{bind("/volume", "")}, "aarch64"},
		// a mount hides it
		{"/bin/guest", "/", []mount{{Destination: "/bin", Type: "tmpfs"}}, "aarch64"},
	} {
		abi, err := w.guest(filepath.Join(dir, "rootfs"), process{Args: strings.Fields(c.args), Env: []string{path}, Cwd: c.cwd}, c.mounts)
		switch {
		case strings.HasPrefix(c.want, "/"):
			assert.ErrorContains(t, err, c.want[1:], c.args)
		case c.want == "":
			assert.NoError(t, err, c.args)
			assert.Nil(t, abi, c.args)
		default:
			assert.NoError(t, err, c.args)
			assert.Equal(t, arch.Get(c.want), abi, c.args)
		}
	}
}

// The changes to a config.json. One that needs no change stays the same byte for byte.
func TestWrap(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.json")
	require.NoError(t, err)
	require.NotEmpty(t, inputs)
	for _, input := range inputs {
		dir, w := testContainer(t)
		before, err := os.ReadFile(input)
		require.NoError(t, err)
		path := filepath.Join(dir, "config.json")
		require.NoError(t, os.WriteFile(path, before, 0o640))
		require.NoError(t, w.create(parse([]string{"create", "--bundle", dir, "id"})), input)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		fi, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o640), fi.Mode())
		golden := strings.TrimSuffix(input, ".in.json") + ".out.json"
		if bytes.Equal(before, after) {
			assert.NoFileExists(t, golden)
			continue
		}
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, bytes.ReplaceAll(after, []byte(dir), []byte("DIR")), "", "\t"))
		indented.WriteByte('\n')
		if *update {
			require.NoError(t, os.WriteFile(golden, indented.Bytes(), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		assert.Equal(t, string(want), indented.String(), input)

		// A container that is run again is wrapped already.
		require.NoError(t, w.create(parse([]string{"run", "-b", dir, "id"})))
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, string(after), string(again))
	}
}

// For a file that cannot be read, the error names the file and the reason; the file does not
// change.
func TestBroken(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "unexpected end of JSON input",
		"{":                        "unexpected end of JSON input",
		"[]":                       "cannot unmarshal array",
		"null":                     "it is no JSON object",
		`{"process":{"args":"x"}}`: "cannot unmarshal string",
	} {
		dir, w := testContainer(t)
		path := filepath.Join(dir, "config.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		err := w.create(parse([]string{"create", "-b", dir, "id"}))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(kept))
	}
}

// A config.json of any kind is changed as a whole or not at all.
func FuzzWrap(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.in.json")
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"process":{"args":["/opt/script"]},"root":{"path":"rootfs"},"Mounts":[{"destination":"/dev","type":"tmpfs"}]}`))
	dir, w := testContainer(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "config.json")
		require.NoError(t, os.WriteFile(path, text, 0o644))
		err := w.create(parse([]string{"create", "-b", dir, "id"}))
		after, readErr := os.ReadFile(path)
		require.NoError(t, readErr)
		if err != nil {
			require.Equal(t, text, after)
		} else {
			require.True(t, json.Valid(after))
		}
	})
}

// No command line reads out of bounds.
func FuzzParse(f *testing.F) {
	f.Add("--root /r exec -p /f id")
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, " ")
		l := parse(args)
		require.LessOrEqual(t, l.operand, len(args))
		for _, o := range append(l.options, l.own...) {
			require.True(t, strings.HasSuffix(args[o.at], o.value))
		}
	})
}

func TestReport(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	w := Wrapper{Real: "/nonexistent/runc"}
	err := w.Exec([]string{"--log", log, "--log-format=json", "create", "id"})
	require.ErrorContains(t, err, "no runtime to hand containers to: looked for /nonexistent/runc")
	text, readErr := os.ReadFile(log)
	require.NoError(t, readErr)
	var line struct{ Level, Msg, Time string }
	require.NoError(t, json.Unmarshal(text, &line))
	assert.Equal(t, "error", line.Level)
	assert.Equal(t, "binproxy: "+err.Error(), line.Msg)

	require.NoError(t, os.Remove(log))
	_ = w.Exec([]string{"--log=" + log, "state", "id"})
	text, readErr = os.ReadFile(log)
	require.NoError(t, readErr)
	assert.Contains(t, string(text), " level=error msg=\"binproxy: no runtime")
}

// The process of an exec is in a file, which does not change, or is the rest of the command line.
func TestProcessFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "process.json")
	text := `{"args":["a","b"],"env":["PATH=/x"],"later":{"n":12345678901234567890}}`
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	prefix := func(p process) ([]string, error) { return append([]string{"x"}, p.Args...), nil }
	for _, args := range [][]string{{"exec", "--process", path, "id"}, {"exec", "--process=" + path, "id"}} {
		l := parse(args)
		got, err := withProcess(args, last(l.own, "process"), prefix)
		require.NoError(t, err)
		changed := last(parse(got).own, "process").value
		require.True(t, strings.HasPrefix(changed, "/proc/self/fd/"), changed)
		now, err := os.ReadFile(changed)
		require.NoError(t, err)
		require.JSONEq(t, `{"args":["x","a","b"],"env":["PATH=/x"],"later":{"n":12345678901234567890}}`, string(now))
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(kept))
	}
}
