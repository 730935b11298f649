package runtime

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/modules"
	"binproxy/test/lib/need"
)

// containerdConfig has a class of runtimes called binproxy, as on a node with that RuntimeClass.
const containerdConfig = `version = 2
root = "DIR/root"
state = "DIR/state"
[grpc]
  address = "DIR/sock"
[ttrpc]
  address = "DIR/sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "binproxy.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.binproxy]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["binproxy.*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.binproxy.options]
  BinaryName = "LINK"
`

// pause holds a pod: it waits.
const pause = "package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(1 << 62) }\n"

// containerd starts a containerd of the test's own, in namespaces that end it and all its shims,
// and gives its directory.
func containerd(t *testing.T, link string) string {
	t.Helper()
	program := need.Program(t, "containerd", "containerd")
	need.Program(t, "runc", "runc")
	dir, err := os.MkdirTemp("", "containerd-") // sockets have short names
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	removeGroups(t, func(name string) bool { return name == "k8s.io" }) // those of its containers
	text := strings.NewReplacer("DIR", dir, "LINK", link).Replace(containerdConfig)
	require.NoError(t, os.WriteFile(dir+"/config.toml", []byte(text), 0o644))
	cmd := exec.Command("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc", program, "--config", dir+"/config.toml")
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin", "TMPDIR="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	ctr := engine{t: t, dir: dir, words: []string{need.Program(t, "ctr", "containerd"), "--address", dir + "/sock"}}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, status := ctr.do("version"); status == 0 {
			return dir
		}
	}
	t.Fatal("containerd does not answer")
	return ""
}

// imported makes an image of a root known to containerd.
func imported(t *testing.T, ctr engine, port, root, ref string) {
	t.Helper()
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	var image bytes.Buffer
	require.NoError(t, lab.WriteImage(&image, root, abi, ref))
	path := filepath.Join(ctr.dir, "image.tar")
	require.NoError(t, os.WriteFile(path, image.Bytes(), 0o644))
	ctr.must("images", "import", "--all-platforms", "--snapshotter", "native", path)
}

// containerd runs containers by ctr, and by its CRI with a RuntimeClass, as Kubernetes does.
func TestContainerd(t *testing.T) {
	need.Root(t)
	need.Long(t)
	link := runtimeLink(t)
	dir := containerd(t, link)
	ctr := engine{t: t, dir: dir, words: []string{need.Program(t, "ctr", "containerd"), "--address", dir + "/sock", "--namespace", "k8s.io"}}
	imported(t, ctr, "arm64", image(t, root(t)), "binproxy.test/guest:1")
	waits := t.TempDir()
	require.NoError(t, os.WriteFile(waits+"/pause.go", []byte(pause), 0o644))
	require.NoError(t, os.MkdirAll(waits+"/root/bin", 0o755))
	// images of WriteImage run it
	built.Guest(t, arch.Host().GOARCH, waits+"/pause.go", waits+"/root/bin/bash")
	imported(t, ctr, arch.Host().Debian, image(t, waits+"/root"), "binproxy.test/pause:1")

	t.Run("ctr", func(t *testing.T) {
		ctr.t = t
		out, status := ctr.do("run", "--rm", "--snapshotter", "native", "--platform", "linux/arm64", "--fifo-dir", dir+"/fifo",
			"--runc-binary", link, "--runc-root", dir+"/runc", "binproxy.test/guest:1", "c", "sh", "-c", script)
		assert.Equal(t, shown, out)
		assert.Equal(t, 7, status)
	})
	t.Run("CRI", func(t *testing.T) { cri(t, dir) })
	t.Run("nerdctl", func(t *testing.T) { nerdctl(t, dir, link) })
}

// nerdctl runs a container, and a command in one that runs.
func nerdctl(t *testing.T, dir, link string) {
	need.Everything(t) // it is no package of Debian 12, and not every module proxy has it
	removeGroups(t, func(name string) bool { return name == "default" })
	e := engine{t: t, dir: dir, words: []string{need.Program(t, "nerdctl", "nerdctl of Debian 13"), "--address", dir + "/sock",
		"--namespace", "k8s.io", "--snapshotter", "native", "--data-root", dir + "/nerdctl", "--cgroup-manager", "cgroupfs"}}
	run := []string{"run", "--net", "host", "--platform", "linux/arm64", "--runtime", link}
	out, status := e.do(append(run, "--rm", "binproxy.test/guest:1", "sh", "-c", script)...)
	assert.Equal(t, shown, out)
	assert.Equal(t, 7, status)
	e.must(append(run, "--detach", "--name", "waits", "binproxy.test/guest:1", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")...)
	out, status = e.do("exec", "waits", "sh", "-c", "uname -m; exit 4")
	assert.Equal(t, "aarch64\n", out)
	assert.NotZero(t, status) // nerdctl's own: it says which
	e.must("stop", "waits")
	assert.Equal(t, "3\n", e.must("inspect", "--format", "{{.State.ExitCode}}", "waits"))
	e.must("rm", "waits")
}

// cri runs a pod of the class by crictl.
func cri(t *testing.T, dir string) {
	file := func(name string, v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o644))
		return path
	}
	// By default Kubernetes asks for the node's network and for a PID namespace.
	namespaces := config{"security_context": config{"namespace_options": config{"network": 2, "pid": 1}}}
	pod := file("pod.json", config{
		"metadata": config{"name": "pod", "namespace": "default", "uid": "1", "attempt": 1}, "log_directory": dir, "linux": namespaces,
		"annotations": config{"binproxy.release": "5.6.7"},
	})
	container := file("container.json", config{
		"metadata": config{"name": "container"}, "image": config{"image": "binproxy.test/guest:1"}, "log_path": "log", "linux": namespaces,
		"command": []string{"sh", "-c", "echo pid $$; uname -mr; exec sleep 1000"},
	})
	crictl := engine{t: t, dir: dir, words: []string{modules.CRITools.Program(t, "crictl"), "--runtime-endpoint", "unix://" + dir + "/sock", "--timeout", "60s"}}
	sandbox := strings.TrimSpace(crictl.must("runp", "--runtime", "binproxy", pod))
	t.Cleanup(func() { crictl.do("rmp", "--force", sandbox) })
	id := strings.TrimSpace(crictl.must("create", "--no-pull", sandbox, container, pod))
	crictl.must("start", id)
	require.Eventually(t, func() bool {
		log, _ := os.ReadFile(dir + "/log")
		return strings.Contains(string(log), "aarch64")
	}, patience, 100*time.Millisecond)
	log, err := os.ReadFile(dir + "/log")
	require.NoError(t, err)
	assert.Contains(t, string(log), "pid 1\n")
	assert.Contains(t, string(log), "5.6.7 aarch64\n")
	out, status := crictl.do("exec", id, "sh", "-c", "uname -m; exit 3")
	assert.Equal(t, "aarch64\n", out)
	assert.NotZero(t, status)
}
