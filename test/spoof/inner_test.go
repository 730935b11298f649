package spoof

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// Whoever makes a user namespace mounts a /proc and a /sys there with an identity as without one,
// and what they tell is the identity, in every program that is started there.
func TestInnerNamespace(t *testing.T) {
	need.Root(t)
	unshare := need.Program(t, "unshare", "util-linux")
	dir, binproxy := public(t)
	for _, goarch := range []string{"amd64", "386"} {
		reader := filepath.Join(dir, goarch)
		built.Guest(t, goarch, "./testdata/sources", reader)
		for name, command := range map[string][]string{
			"a new proc":                  {unshare, "-Ur", "--pid", "--mount-proc", "--fork", reader},
			"a new proc by another":       {unshare, "-Urmpf", "sh", "-c", "mount -t proc proc /proc && exec " + reader},
			"a new sysfs":                 {unshare, "-Urmn", "sh", "-c", "mount -t sysfs sysfs /sys && exec " + reader},
			"both":                        {unshare, "-Urmnpf", "sh", "-c", "mount -t proc proc /proc && mount -t sysfs sysfs /sys && exec " + reader},
			"a namespace in a namespace":  {unshare, "-Urmpf", "--mount-proc", unshare, "-Urmpf", "--mount-proc", reader},
			"a container without root":    rootless(t, dir, reader),
			"a namespace and no new proc": {unshare, "-Ur", reader},
		} {
			t.Run(goarch+" "+name, func(t *testing.T) {
				truth, err := exec.Command(command[0], command[1:]...).CombinedOutput()
				need.Given(t, err == nil, "a machine where this works without an identity: "+string(truth))
				got := output(t, nil, concat([]string{binproxy}, flags("auto"), []string{"--"}, command)...)
				check(t, string(truth), got, false)
			})
		}
	}
}

// rootless is a command that runs the program in a container whose root is nobody outside.
func rootless(t *testing.T, dir, program string) []string {
	runc := need.Program(t, "runc", "runc")
	bundle := program + "-bundle"
	require.NoError(t, os.MkdirAll(bundle+"/rootfs/tmp", 0o777))
	text, err := os.ReadFile(program)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(bundle+"/rootfs/reader", text, 0o755))
	spec := exec.Command(runc, "spec", "--rootless")
	spec.Dir = bundle
	require.NoError(t, spec.Run())
	text, err = os.ReadFile(bundle + "/config.json")
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	delete(config, "hostname")
	config["root"].(map[string]any)["readonly"] = false
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/reader"}
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(bundle+"/config.json", text, 0o644))
	return []string{runc, "--root", dir + "/state", "run", "--bundle", bundle, filepath.Base(dir)}
}
