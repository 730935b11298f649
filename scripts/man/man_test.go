package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/applets"
	"binproxy/applets/applet"
	"binproxy/test/lib/need"
)

// Each page shows what `binproxy help` prints.
func TestPagesRead(t *testing.T) {
	groff := need.Program(t, "groff", "groff-base")
	dir := filepath.Join(t.TempDir(), "man")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	gone := filepath.Join(dir, "binproxy-gone.1")
	require.NoError(t, os.WriteFile(gone, nil, 0o644))
	require.NoError(t, write(dir))
	assert.NoFileExists(t, gone)
	for _, a := range applets.Table {
		shown := show(t, groff, filepath.Join(dir, "binproxy-"+a.Name+".1"))
		for _, line := range a.Usage() {
			assert.Contains(t, shown, squeeze(line), a.Name)
		}
		for _, paragraph := range applet.Paragraphs(a.Text) {
			assert.Contains(t, shown, squeeze(paragraph), a.Name)
		}
		for _, s := range a.Sections() {
			for _, i := range s.Items {
				assert.Contains(t, shown, squeeze(i.Name+" "+i.Text), a.Name)
			}
		}
		assert.Contains(t, shown, squeeze(a.Synopsis), a.Name)
		assert.Contains(t, show(t, groff, filepath.Join(dir, "binproxy.1")), "binproxy-"+a.Name, a.Name)
	}
}

// docs/commands.md is what the command in its first line prints.
func TestMarkdownIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	require.NoError(t, err)
	assert.True(t, string(page) == markdown(), "stale: go run ./scripts/man >docs/commands.md")
}

// show is what a reader sees, with all white space made equal. A page with errors fails the test.
func show(t *testing.T, groff, path string) string {
	t.Helper()
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-rLL=200n", "-P-c", path)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Empty(t, said.String(), path)
	text := strings.ReplaceAll(string(out), "−", "-")
	// Bold is a letter, a backspace and the letter again.
	runes := []rune(text)
	var plain []rune
	for i := 0; i < len(runes); i++ {
		if i+1 < len(runes) && runes[i+1] == '\b' {
			i++
			continue
		}
		plain = append(plain, runes[i])
	}
	return squeeze(string(plain))
}

func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }
