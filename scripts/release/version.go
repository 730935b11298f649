package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// A version is what git describes, and the same as packages compare it: a commit after a tag is
// newer than the tag, a release candidate older than the release.
type version struct {
	name     string // of files: v1.2.3 as 1.2.3
	deb, apk string // deb is RPM's, too
}

func describe(ctx context.Context) (version, error) {
	said := os.Getenv("VERSION")
	if said == "" {
		out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
		if err != nil {
			return version{}, fmt.Errorf("git describe: %w", err)
		}
		said = strings.TrimSpace(string(out))
	}
	return parse(said), nil
}

// parse reads [v]1.2.3[-rc1][-4-gabcdef0][-dirty]; anything else is older than every release.
func parse(said string) version {
	form := regexp.MustCompile(`^v?(\d+(?:\.\d+)*)(?:-(alpha|beta|pre|rc)\.?(\d*))?(?:-(\d+)-(g[0-9a-f]+))?(-dirty)?$`)
	m := form.FindStringSubmatch(said)
	if m == nil || !strings.ContainsAny(m[0], ".") {
		return version{said, "0+" + strings.ReplaceAll(said, "-", "."), "0"}
	}
	v := version{strings.TrimPrefix(said, "v"), m[1], m[1]}
	if m[2] != "" {
		v.deb += "~" + m[2] + m[3]
		v.apk += "_" + m[2] + m[3]
	}
	if m[4] != "" {
		v.deb += "+" + m[4] + "." + m[5]
		v.apk += "_p" + m[4]
	}
	if m[6] != "" {
		v.deb += "+dirty"
	}
	return v
}
