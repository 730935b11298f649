package builders

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// answers are the answers of `binproxy doctor --builders` by "BUILDER PLUG", with their reasons.
type answers map[string]struct{ Answer, Reason, Change string }

// doctor parses the command's output, and also gives the answers for the kernel's route.
func doctor(t *testing.T, out []byte) (found answers, kernel string) {
	t.Helper()
	type result struct{ Name, Answer, Reason, Change string }
	var r struct {
		Guests   []struct{ Routes []result }
		Builders struct {
			Platform string
			Found    []struct {
				Name, Path string
				Plugs      []result
			}
		}
	}
	require.NoError(t, json.Unmarshal(out, &r), "%s", out)
	assert.Equal(t, "linux/arm64", r.Builders.Platform)
	found = answers{}
	for _, b := range r.Builders.Found {
		assert.True(t, filepath.IsAbs(b.Path), b.Path)
		for _, p := range b.Plugs {
			found[b.Name+" "+p.Name] = struct{ Answer, Reason, Change string }{p.Answer, p.Reason, p.Change}
		}
	}
	require.Len(t, r.Guests, 1)
	require.Equal(t, "kernel", r.Guests[0].Routes[0].Name)
	return found, r.Guests[0].Routes[0].Answer
}

// doctor reports what buildah and podman then do; and everything that it used for the trial is
// gone.
func TestDoctor(t *testing.T) {
	need.Root(t)
	need.Emulator(t, "aarch64")
	for _, test := range []struct {
		name, builder string
		user, long    bool
		isolation     string
		runtime       string // its answer
		reason        string
	}{
		{name: "buildah-chroot", builder: "buildah", isolation: "chroot", runtime: "no", reason: "without an OCI runtime"},
		{name: "buildah-runc", builder: "buildah", isolation: "oci", runtime: "yes"},
		{name: "buildah-rootless", builder: "buildah", user: true, long: true, isolation: "chroot", runtime: "no", reason: "without an OCI runtime"},
		{name: "podman-rootless", builder: "podman", user: true, long: true, runtime: "yes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long {
				need.Long(t)
			}
			need.Program(t, test.builder, test.builder)
			need.Program(t, "runc", "runc")
			place := lab.NewPlace(t, test.user)
			binproxy := installed(t, place)
			before := names(t, place.Dir)
			cmd := place.Command(t.Context(), binproxy, "doctor", "--arch", "arm64", "--builders", "--json")
			cmd.Env = append(cmd.Env, "BUILDAH_ISOLATION="+test.isolation)
			out, err := cmd.Output()
			require.NoError(t, err, "%s", out)
			assert.Equal(t, before, names(t, place.Dir))
			found, kernel := doctor(t, out)
			assert.Equal(t, test.runtime, found[test.builder+" runtime"].Answer, "%s", out)
			assert.Contains(t, found[test.builder+" runtime"].Reason, test.reason)
			if test.isolation == "chroot" {
				assert.Equal(t, "yes", found[test.builder+" run"].Answer, "%s", out)
				assert.Equal(t, kernel, found[test.builder+" itself"].Answer, "%s", out)
			}
		})
	}
}

// names lists all files below a directory, except for the empty directories and locks of the
// network and of the runtime, which a builder makes itself.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{"work", "cni", ".config"}, d.Name()), filepath.Base(filepath.Dir(path)) == "run" && !strings.HasPrefix(d.Name(), "binproxy"):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		list = append(list, path)
		return nil
	}))
	return list
}

// doctor reports of a daemon what its builds do: with BuildKit's plug in its PATH, and without.
func TestDoctorOfDocker(t *testing.T) {
	need.Root(t)
	need.Emulator(t, "aarch64")
	need.Program(t, "dockerd", "docker.io")
	for _, test := range []struct {
		name   string
		start  func(t *testing.T, p *lab.Place) lab.Start
		answer func(kernel string) string
	}{
		{"without a plug", func(*testing.T, *lab.Place) lab.Start { return lab.Start{} }, func(kernel string) string { return kernel }},
		{"with BuildKit's", buildKitEmulator, func(string) string { return "yes" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "without a plug" {
				need.Long(t)
			}
			place := lab.NewPlace(t, false)
			engine := lab.StartEngineIn(t, place, test.start(t, place))
			before := lab.Do(t, engine.Command(t.Context(), "image", "ls", "--all", "--quiet"))
			cmd := engine.BuildWith(t.Context(), true, "build")
			docker := filepath.Dir(cmd.Path)
			cmd.Path, cmd.Args = installed(t, place), []string{"binproxy", "doctor", "--arch", "arm64", "--builders", "--json"}
			cmd.Env = append(cmd.Env, "PATH="+docker, "HOME="+place.Dir)
			out, err := cmd.Output()
			require.NoError(t, err, "%s", out)
			found, kernel := doctor(t, out)
			docked := found["docker itself"]
			assert.Equal(t, test.answer(kernel), docked.Answer, "%s", out)
			if docked.Answer == "no" {
				assert.Contains(t, docked.Reason, "exec format error")
				assert.Contains(t, docked.Change, "docs/builders.md")
			}
			assert.NotContains(t, found, "docker run")
			assert.Equal(t, before, lab.Do(t, engine.Command(t.Context(), "image", "ls", "--all", "--quiet")))
		})
	}
}
