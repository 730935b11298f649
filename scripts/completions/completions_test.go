package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/applets"
	"binproxy/test/lib/need"
)

// lines are command lines, and the one word that each shell has to complete them with.
var lines = []struct{ typed, word string }{
	{"binproxy bun", "bundle"},
	{"binproxy help dockerf", "dockerfile"},
	{"binproxy container cr", "create"},
	{"binproxy uml kernel fe", "fetch"},
	{"binproxy run --summ", "--summary"},
	{"binproxy run --platform linux/loo", "linux/loong64"},
	{"binproxy container create --arch sparc6", "sparc64"},
	{"binproxy bundle --buildkit sub/onl", "sub/only-"},
	{"binproxy binfmt unr", "unregister"},
}

// Each shell, as it is, completes the lines.
func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, write(dir))
	require.NoError(t, exec.Command("mkdir", "-p", dir+"/sub/only-dir").Run())
	shells := []struct {
		name string
		one  func(t *testing.T, dir, typed string) string
	}{{"bash", completeInBash}, {"fish", completeInFish}, {"zsh", completeInZsh}}
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			need.Program(t, shell.name, shell.name)
			for _, line := range lines {
				assert.Contains(t, shell.one(t, dir, line.typed), line.word, line.typed)
			}
		})
	}
}

func completeInBash(t *testing.T, dir, typed string) string {
	words := strings.Fields(typed)
	return output(t, dir, "bash", "-c", `. ./binproxy.bash; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_binproxy; echo "${COMPREPLY[*]}"`, append([]string{"bash"}, words...)...)
}

func completeInFish(t *testing.T, dir, typed string) string {
	return output(t, dir, "fish", "--no-config", "-c", "source binproxy.fish; complete -C $argv[1]", typed)
}

// completeInZsh types the line and a tab into an interactive zsh, and reads what the line became.
func completeInZsh(t *testing.T, dir, typed string) string {
	return output(t, dir, "zsh", "-f", "-c", `
zmodload zsh/zpty
zpty line 'stty -echo; TERM=dumb zsh -f -i'
zpty -w line 'fpath=($PWD $fpath); autoload -U compinit; compinit -u -d $PWD/dump; PROMPT=; show() { print -r -- "<$BUFFER>" }; zle -N show; bindkey "^X" show'
zpty -w line 'print rea''dy'
zpty -r -m line text '*ready*'
zpty -n -w line "$1"$'\t\x18'
zpty -r -m line text '*<*>*'
print -r -- ${${text##*<}%%>*}
zpty -d line`, "zsh", typed)
}

func output(t *testing.T, dir, name, flag, text string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, append([]string{flag, text}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// Every flag of every command is in each file, and no name occurs in them that no applet has.
func TestEveryFlag(t *testing.T) {
	table := read()
	counted := 0
	for _, p := range table {
		counted += len(p.flags)
		for _, o := range p.flags {
			assert.Contains(t, bash(table), o.name)
			assert.Contains(t, fish(table), fishName(o.name)+" ")
			assert.Contains(t, zsh(table), quoted(zshSpec(o)))
		}
	}
	declared := 0
	for _, a := range applets.Table {
		for i := range a.Commands {
			declared += len(options(a, &a.Commands[i]))
		}
	}
	assert.Equal(t, declared, counted)
	assert.Greater(t, counted, 100)
}

func TestKinds(t *testing.T) {
	for value, want := range map[string]kind{"ARCH[,ARCH...]": archs, "PLATFORM": archs, "[ARCH=]FILE": files, "DIR": directories, "SRC[:DST]": directories, "N": anything} {
		assert.Equal(t, want, kindOf(value), value)
	}
	assert.Equal(t, "the guest's root", brief("the guest's root; that is all"))
	assert.True(t, slices.ContainsFunc(read(), func(p place) bool { return p.path == "uml kernel" }))
}
