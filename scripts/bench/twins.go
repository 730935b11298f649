package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
)

// A job with twins runs by the supervised route against the kernel's binfmt_misc alone. The twins
// are this host's, or those of a Debian root of the host's architecture and the guest's release,
// as a build stage would have them.

var (
	makeLua  = job{again: "make -s -C /srv/lua-* clean", argv: []string{"/bin/sh", "-c", "cd /srv/lua-* && make -s -j2 posix"}}
	autotool = job{
		again: "apt-get install -qq -y --no-install-recommends g++ && cd /srv && rm -rf gperf-* && apt-get source -qq --download-only gperf && tar -xf gperf_*.orig.tar.*",
		argv:  []string{"/bin/sh", "-c", "cd /srv/gperf-* && ./configure >/dev/null && make -s -j2 >/dev/null"},
	}
)

// withTwins is the row of a job with the twins of the sets and programs in names, or all if there
// are none.
func (j job) withTwins(names ...string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		measured, reference, err := j.againstKernel(ctx, dir)
		if err != nil {
			return measured, reference, err
		}
		twins, err := packTwins(ctx, dir, measured.path, names)
		if err != nil {
			return measured, reference, err
		}
		measured.args = append([]string{"run", "--twins", twins, "--summary"}, measured.args[1:]...)
		measured.note = shares
		return measured, reference, nil
	}
}

// shares is the first line of a summary: how much was emulated, and how much ran as twins.
func shares(said string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, " of wall time and ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// packTwins packs the programs of this host. Those that have to be of the guest's own release it
// takes from a root of the host's architecture.
func packTwins(ctx context.Context, dir, binproxy string, names []string) (string, error) {
	twins := filepath.Join(dir, "twins")
	if len(names) == 0 {
		return twins, quiet(exec.CommandContext(ctx, binproxy, "twin", "pack", "--for", "arm64", "-o", twins))
	}
	archive, err := lab.MakeRoot(ctx, arch.Host().Debian)
	if err != nil {
		return "", err
	}
	stage := filepath.Join(dir, "stage")
	if err := unpack(ctx, archive, stage); err != nil {
		return "", err
	}
	program, err := os.ReadFile(binproxy)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(stage, "binproxy"), program, 0o755); err != nil {
		return "", err
	}
	pack := []string{stage, "/binproxy", "twin", "pack", "--for", "arm64", "-o", "/twins"}
	cmd := exec.CommandContext(ctx, "chroot", append(pack, names...)...)
	cmd.Env = guestEnv
	return filepath.Join(stage, "twins"), quiet(cmd)
}
