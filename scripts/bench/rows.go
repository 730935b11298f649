package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

var rows = []row{
	{"a shim's start-up (uname), against an empty Go program", 1.25, 300, shimStart},
	{"an exec through the farm, against the emulator alone", 0, 200, farmExec},
	{"debootstrap's second stage, arm64 minbase, against binfmt_misc", 1.02, 2, secondStage.againstKernel},
	{"debootstrap's second stage, arm64 minbase, against PRoot -q", 0.5, 1, secondStage.againstPRoot},
	{"apt-get install of perl and cowsay, against binfmt_misc", 1.02, 3, aptInstall.againstKernel},
	{"apt-get install of perl and cowsay, against PRoot -q", 0.5, 1, aptInstall.againstPRoot},
	{`perl, 10,000 times system("/usr/bin/true"), against binfmt_misc`, 1.02, 2, perlLoop("10000").againstKernel},
	{`perl, 1,000 times system("/usr/bin/true"), against PRoot -q`, 0.5, 2, perlLoop("1000").againstPRoot},
	{"gcc of Lua's largest files in the guest, against binfmt_misc", 1.02, 3, compileLua.againstKernel},
	{"gcc of Lua's largest files in the guest, against PRoot -q", 0.5, 2, compileLua.againstPRoot},
	{"300 execs of /bin/true by the preload route, against supervised", 0, 10, preloadExecs},
	{"find under kernel run --as 3.10, against not", 1.03, 15, filterWalk},
	{"getppid under kernel run --as, against one rule", 0, 9, filterFloor},
	{"entering a container (5 ms), against the emulator", 0, 60, enter},
	{"UML, boot to exit, against the program on the host", 0, 20, umlOnHost("nothing")},
	{"UML, boot to exit, against an emulated container", 0, 20, umlEmulated("nothing")},
	{"UML, boot and 20,000 system calls, against the host", 0, 3, umlOnHost("syscalls")},
	{"UML, boot and 20,000 calls, against an emulated container", 0, 3, umlEmulated("syscalls")},
	{"UML, boot and 100 fork+exec, against the host", 0, 3, umlOnHost("execs")},
	{"UML, boot and 100 fork+exec, against an emulated one", 0, 3, umlEmulated("execs")},
	{"UML by seccomp, boot to exit, against by ptrace", 0, 20, umlBySeccomp("nothing")},
	{"UML by seccomp, boot and 20,000 system calls, against by ptrace", 0, 3, umlBySeccomp("syscalls")},
	{"UML by seccomp, boot and 8,000 page faults, against by ptrace", 0, 3, umlBySeccomp("faults")},
	{"UML by seccomp, boot and 100 fork+exec, against by ptrace", 0, 3, umlBySeccomp("execs")},
	{"make of Lua in the guest with twins, against binfmt_misc", 0.15, 2, makeLua.withTwins()},
	{"configure and make of gperf with twins, against binfmt_misc", 0.3, 2, autotool.withTwins()},
	{"apt-get install of perl and cowsay with twins, against binfmt_misc", 0.6, 2, aptInstall.withTwins("compressors", "text", "packages", "apt")},
	{"apt-get install of git and what it recommends with twins, against binfmt_misc", 0.6, 1, aptInstallGit.withTwins("compressors", "text", "packages", "apt")},
	{"debootstrap's second stage with twins, against binfmt_misc", 0.6, 2, secondStage.withTwins("compressors", "text", "packages")},
	{"stat/open with an identity, files by mounts, against not", 1.10, 15, spoofLoop("auto", "100000")},
	{"stat/open with an identity, files by tracing, against not", 0, 9, spoofLoop("trace", "20000")},
	{"stat/open under PRoot -k, against not", 0, 5, spoofLoop("proot", "10000")},
	{"gcc with an identity, files by mounts, against not", 1.02, 15, spoofCompile("auto")},
	{"gcc with an identity, files by tracing, against not", 0, 9, spoofCompile("trace")},
}

// shimStart is binproxy as uname, against a static Go program that does nothing.
func shimStart(ctx context.Context, dir string) (command, command, error) {
	empty := filepath.Join(dir, "empty")
	if err := compile(ctx, empty, "package main\n\nfunc main() {}\n"); err != nil {
		return command{}, command{}, err
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	shim := filepath.Join(dir, "uname")
	return command{path: shim}, command{path: empty}, os.Symlink("binproxy", shim)
}

// farmExec is a small static guest program through a link of a farm, against the same under the
// emulator that the farm uses.
func farmExec(ctx context.Context, dir string) (command, command, error) {
	emulator, err := findEmulator()
	if err != nil {
		return command{}, command{}, err
	}
	guest := filepath.Join(dir, "bin", "guest")
	if err := writeGuest(guest); err != nil {
		return command{}, command{}, err
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	bundle := filepath.Join(dir, "bundle")
	make := exec.CommandContext(ctx, filepath.Join(dir, "binproxy"), "bundle", "--arch", "arm64", "--emulator", emulator, "-o", bundle)
	if out, err := make.CombinedOutput(); err != nil {
		return command{}, command{}, fmt.Errorf("%w\n%s", err, out)
	}
	// The link that install makes, but without install, which would search this machine's own
	// PATH.
	link := filepath.Join(bundle, "farm", guest)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return command{}, command{}, err
	}
	// An exec within a RUN line: the line's first one would start a supervisor.
	env := []string{"BINPROXY_ROUTE=farm"}
	return command{path: link, env: env}, command{path: filepath.Join(bundle, "qemu-aarch64"), args: []string{guest}, env: env}, os.Symlink(filepath.Join(bundle, "binproxy"), link)
}

// findEmulator finds the emulator for arm64 guests.
func findEmulator() (string, error) {
	path, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		return "", fmt.Errorf("needs package qemu-user-static: %w", err)
	}
	return path, nil
}

// writeGuest writes the smallest aarch64 program: one segment, exit(0).
func writeGuest(path string) error {
	const base, headers = 0x400000, 64 + 56
	code := []uint32{
		0xd2800000, // mov x0, #0
		0xd2800ba8, // mov x8, #93 (exit)
		0xd4000001, // svc #0
	}
	size := uint64(headers + 4*len(code))
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1,
			Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000},
		code,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o755)
}

// compile makes a static program at path from a Go source, for the host unless env says otherwise.
func compile(ctx context.Context, path, source string, env ...string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".go", []byte(source), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path+".linked", path+".go")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if err := quiet(cmd); err != nil {
		return err
	}
	return copied(ctx, path+".linked", path)
}

// quiet runs the command, and shows its output only if it fails.
func quiet(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
