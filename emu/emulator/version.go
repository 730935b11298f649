package emulator

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// patience is how long an emulator may take to print its version.
const patience = 20 * time.Second

// Says is the first line that the emulator prints when asked for its version; "" where it prints
// none.
func (e Emulator) Says() string {
	word := e.dialect().version
	if word == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, e.Program(), append(e.start(), word)[1:]...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// Version is the version in that line, with the distribution's in parentheses; "" for none.
func (e Emulator) Version() string {
	_, version, _ := strings.Cut(e.Says(), " version ")
	return version
}
