package builder

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
)

func TestPlan(t *testing.T) {
	docker := Builder{Name: Docker, Path: "/bin/docker", Remote: "the daemon"}
	down := Builder{Name: Docker, Path: "/bin/docker", Remote: "the daemon", Refused: "is the docker daemon running?"}
	buildah := Builder{Name: Buildah, Path: "/bin/buildah", OCI: true}
	chroot := Builder{Name: Buildah, Path: "/bin/buildah"}
	podman := Builder{Name: Podman, Path: "/bin/podman", OCI: true}
	remote := Builder{Name: Podman, Path: "/bin/podman", Remote: "ssh://host"}
	buildctl := Builder{Name: Buildctl, Path: "/bin/buildctl", Remote: "tcp://[::1]:1234"}
	arm := []*arch.ABI{arch.Get("aarch64")}
	own := Own{Dir: "/opt"}
	yes := func(Builder, *arch.ABI) (bool, string) { return true, "" }
	no := func(Builder, *arch.ABI) (bool, string) { return false, "exec format error" }
	for _, test := range []struct {
		name    string
		request Request
		found   []Builder
		proves  func(Builder, *arch.ABI) (bool, string)
		path    string
		argv    string // "" for an error
		env     string
		why     string
	}{
		{
			name: "the host's own platform", request: Request{Platforms: []string{"linux/amd64"}, Rest: []string{"."}},
			found: []Builder{docker}, path: "/bin/docker", argv: "docker build --platform linux/amd64 .", why: "the host's own",
		}, {
			name: "a daemon that runs it already", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Rest: []string{"-t", "x", "."}},
			found: []Builder{docker, buildah}, proves: yes, path: "/bin/docker", argv: "docker build --platform linux/arm64 -t x .", why: "already",
		}, {
			name: "a daemon that does not, and buildah", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Rest: []string{"."}},
			found: []Builder{docker, buildah}, proves: no, path: "/bin/buildah",
			argv: "buildah build --runtime /opt/binproxy-runtime --platform linux/arm64 .", why: "not with docker: the daemon runs no linux/arm64 programs (exec format error)",
		}, {
			name: "a daemon that does not, and nothing else", request: Request{Foreign: arm}, found: []Builder{docker}, proves: no,
			why: "docs/builders.md",
		}, {
			name: "docker by name where it is down", request: Request{Builder: Docker, Foreign: arm}, found: []Builder{down, buildah}, why: "is the docker daemon running?",
		}, {
			name: "docker's plug is its own", request: Request{Builder: Docker, Foreign: arm, Options: Options{Release: "5.4"}}, found: []Builder{docker}, proves: yes,
			why: "--release",
		}, {
			name: "a builder of buildx", request: Request{Builder: "node", Platforms: []string{"linux/arm64"}, Foreign: arm, Rest: []string{"."}}, found: []Builder{docker}, proves: yes,
			path: "/bin/docker", argv: "docker buildx build --builder node --platform linux/arm64 .", why: "already",
		}, {
			name: "not there", request: Request{Builder: Podman}, found: []Builder{docker}, why: "found no builder in PATH (podman)",
		}, {
			name: "nothing there", why: "found no builder in PATH (docker, buildctl, podman, buildah)",
		}, {
			name: "podman takes a runtime", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Options: Options{Release: "5.4", Summary: true}, Rest: []string{"."}}, found: []Builder{podman},
			path: "/bin/podman", argv: "podman --runtime /opt/binproxy-runtime build --platform linux/arm64 .", env: "BINPROXY_SUMMARY=1", why: "plug runtime",
		}, {
			name: "isolation without a runtime", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Options: Options{Release: "5.4", Summary: true}, Rest: []string{"."}}, found: []Builder{chroot},
			path: "/opt/binproxy", argv: "binproxy run --guests-only --summary -- /bin/buildah build --platform linux/arm64 .", why: "plug run",
		}, {
			name: "isolation without a runtime by an argument", request: Request{Foreign: arm, Rest: []string{"--isolation", "chroot", "."}}, found: []Builder{buildah},
			path: "/opt/binproxy", argv: "binproxy run --guests-only -- /bin/buildah build --isolation chroot .", why: "plug run",
		}, {
			name: "the plug runtime where there is none", request: Request{Plug: Runtime, Foreign: arm}, found: []Builder{chroot}, why: "without an OCI runtime",
		}, {
			name: "the plug run around a daemon", request: Request{Plug: Run, Foreign: arm}, found: []Builder{buildctl}, why: "cannot be put around a daemon",
		}, {
			name: "podman on another machine", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm}, found: []Builder{remote}, proves: yes,
			path: "/bin/podman", argv: "podman build --platform linux/arm64", why: "ssh://host runs them already",
		}, {
			name: "buildctl", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Rest: []string{"-t", "x", "-f", "sub/D", "--build-arg=A=b", "--push", "--no-cache", "ctx"}}, found: []Builder{buildctl}, proves: yes,
			path: "/bin/buildctl",
			argv: `buildctl build --opt platform=linux/arm64 --frontend dockerfile.v0 --local context=ctx --local dockerfile=sub/ --opt filename=D --output type=image,"name=x",push=true --opt build-arg:A=b --no-cache`,
			why:  "already",
		}, {
			name: "docker by the frontend", request: Request{Frontend: "reg/binproxy", Platforms: []string{"linux/arm64"}, Foreign: arm, Options: Options{Release: "5.4", Summary: true}, Rest: []string{"."}}, found: []Builder{docker},
			path: "/bin/docker", argv: "docker build --platform linux/arm64 --build-arg BINPROXY_SUMMARY=1 --build-arg BUILDKIT_SYNTAX=reg/binproxy --build-arg BINPROXY_RELEASE=5.4 .",
			env: "DOCKER_BUILDKIT=1", why: "builds by the image reg/binproxy",
		}, {
			name: "buildctl by the frontend", request: Request{Frontend: "reg/binproxy", Foreign: arm, Rest: []string{"--frontend=dockerfile.v0", "--local=context=."}}, found: []Builder{buildctl},
			path: "/bin/buildctl", argv: "buildctl build --opt build-arg:BUILDKIT_SYNTAX=reg/binproxy --frontend=dockerfile.v0 --local=context=.", why: "plug frontend",
		}, {
			name: "what the daemon has, though there is a frontend", request: Request{Plug: Itself, Frontend: "reg/binproxy", Foreign: arm}, found: []Builder{docker}, proves: yes,
			path: "/bin/docker", argv: "docker build", why: "already",
		}, {
			name: "twins by the frontend", request: Request{Frontend: "reg/binproxy", Foreign: arm, Options: Options{Twins: "auto"}}, found: []Builder{docker}, why: "docs/frontend.md",
		}, {
			name: "the frontend without its image", request: Request{Plug: Frontend, Foreign: arm}, found: []Builder{docker}, why: "--frontend",
		}, {
			name: "the frontend for buildah", request: Request{Plug: Frontend, Frontend: "reg/binproxy", Foreign: arm}, found: []Builder{buildah}, why: "for docker and buildctl",
		}, {
			name: "buildah, though there is a frontend", request: Request{Frontend: "reg/binproxy", Foreign: arm}, found: []Builder{buildah},
			path: "/bin/buildah", argv: "buildah build --runtime /opt/binproxy-runtime", why: "plug runtime",
		}, {
			name: "the frontend for podman", request: Request{Plug: Frontend, Frontend: "reg/binproxy", Foreign: arm}, found: []Builder{remote}, why: "for docker and buildctl",
		}, {
			name: "buildctl's own arguments", request: Request{Platforms: []string{"linux/arm64"}, Foreign: arm, Rest: []string{"--frontend=dockerfile.v0", "--local=context=."}}, found: []Builder{buildctl}, proves: yes,
			path: "/bin/buildctl", argv: "buildctl build --opt platform=linux/arm64 --frontend=dockerfile.v0 --local=context=.", why: "already",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Plan(test.request, test.found, own, test.proves)
			if test.argv == "" {
				require.ErrorContains(t, err, test.why)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.path, c.Path)
			assert.Equal(t, test.argv, strings.Join(c.Argv, " "))
			assert.Equal(t, test.env, strings.Join(c.Env, " "))
			assert.Contains(t, c.Why, test.why)
			assert.NotContains(t, c.Why, "\n")
		})
	}
}

// Plan asks a daemon, by a build, only if the answer decides.
func TestPlanAsksOnlyWhereItDecides(t *testing.T) {
	asked := 0
	proves := func(Builder, *arch.ABI) (bool, string) { asked++; return true, "" }
	for _, r := range []Request{{}, {Foreign: []*arch.ABI{arch.Get("aarch64")}, Builder: Buildah}} {
		_, err := Plan(r, []Builder{{Name: Docker, Remote: "x"}, {Name: Buildah, OCI: true}}, Own{}, proves)
		require.NoError(t, err)
	}
	assert.Zero(t, asked)
}

func TestRan(t *testing.T) {
	for out, want := range map[string]bool{
		"The command '/probe' returned a non-zero code: 42\n":                             true,
		"ERROR: process \"/probe\" did not complete successfully: exit code: 42\n":        true,
		"Error: building at STEP \"RUN /probe\": while running runtime: exit status 42\n": true,
		"exit code: 142": false, "exit code: 421": false, "exit status 1": false, "": false,
	} {
		assert.Equal(t, want, ran(out), out)
	}
}

func TestComplaint(t *testing.T) {
	for out, want := range map[string]string{
		"exec /probe: exec format error\nError: exit status 1\n":                               "exec /probe: exec format error",
		"STEP 3\nerror running container: no cgroups\n: exit status 1\nError: exit status 1\n": "error running container: no cgroups",
		"Step 1\nno space left\n\n": "no space left",
		"":                          "exit status 3",
	} {
		assert.Equal(t, want, complaint(out, errors.New("exit status 3")), out)
	}
}
