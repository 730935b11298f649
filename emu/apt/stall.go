package apt

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// watch ends the call when nothing has come for the time of Stall, since apt's methods have been
// seen to hang past all their timeouts. While apt-get waits for them it writes its progress to a
// descriptor, twice a second; while dpkg works there are other lines, or none. The caller closes
// the result when the command has ended.
func (g Get) watch(cmd *exec.Cmd, end func(error)) (io.Closer, error) {
	status, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles[:len(cmd.ExtraFiles):len(cmd.ExtraFiles)], w)
	cmd.Args = append(cmd.Args, "-o", fmt.Sprintf("APT::Status-Fd=%d", 2+len(cmd.ExtraFiles)))
	go func() {
		var last string
		since := time.Now()
		for lines := bufio.NewScanner(status); lines.Scan(); {
			if line := lines.Text(); line != last {
				last, since = line, time.Now()
			} else if strings.HasPrefix(line, "dlstatus:") && time.Since(since) >= g.Stall {
				end(fmt.Errorf("nothing came for %v", g.Stall))
			}
		}
		_, _ = io.Copy(io.Discard, status)
	}()
	return closers{status, w}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	for _, each := range c {
		each.Close()
	}
	return nil
}
