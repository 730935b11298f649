package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// supervisorMemory is the peak memory of the supervisor after few execs of a guest program and
// after many: it should not grow.
func supervisorMemory(ctx context.Context, dir string) (string, error) {
	if err := buildProgram(ctx, dir); err != nil {
		return "", err
	}
	guest := filepath.Join(dir, "guest")
	if err := writeGuest(guest); err != nil {
		return "", err
	}
	var said []string
	for _, times := range []string{"2000", "100000"} {
		const script = `i=0; while [ $i -lt $1 ]; do "$2"; i=$((i+1)); done; grep VmHWM /proc/$PPID/status`
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "binproxy"), "run", "--route", "supervise", "--", "/bin/sh", "-c", script, "sh", times, guest).Output()
		if err != nil {
			return "", err
		}
		fields := strings.Fields(string(out)) // VmHWM: N kB
		if len(fields) != 3 {
			return "", fmt.Errorf("the kernel says of the supervisor's memory: %q", out)
		}
		said = append(said, fmt.Sprintf("%s kB after %s execs", fields[1], times))
	}
	return strings.Join(said, ", ") + " (budget: 16384 kB, flat)", nil
}
