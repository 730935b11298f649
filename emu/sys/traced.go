package sys

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Untraceable explains why a process that this one has started cannot be traced, if the reason is
// that it is traced already, as this one is. Any other error stays as it is.
func Untraceable(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "\nTracerPid:")
	pid := strings.TrimSpace(strings.SplitN(after, "\n", 2)[0])
	if pid == "" || pid == "0" {
		return err
	}
	name, _ := os.ReadFile("/proc/" + pid + "/comm")
	return fmt.Errorf("this process is traced already, by %s (PID %s), and so is what it starts: "+
		"a process has one tracer, so run this outside of that one (%w)", strings.TrimSpace(string(name)), pid, err)
}
