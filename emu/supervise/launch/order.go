package launch

import (
	"errors"
	"fmt"
	"strconv"
)

// Name is the argv[0] of the entrypoint that becomes the command: "binproxy-launch ORDER... --
// COMMAND ARGV0 ARGUMENT...".
const Name = "binproxy-launch"

// order is what the launcher has to do before it becomes the command.
type order struct {
	ignored, closed uint64 // the start state that the command is to have
	root, dir       string
	lend            bool   // the host's /proc, /dev and /sys to the root
	socket          int    // to talk to the supervisor over
	spoof           string // the identity to be told (encodeSpoof)
	twins           string // a directory of twins to be mounted there; "" for none
}

// words are the order as arguments.
func (o order) words() []string {
	flags := strconv.FormatUint(o.ignored, 16) + " " + strconv.FormatUint(o.closed, 16) + " " +
		strconv.FormatBool(o.lend) + " " + strconv.Itoa(o.socket)
	return []string{flags, o.root, o.dir, o.spoof, o.twins, "--"}
}

// parseOrder reads an order, and gives what comes behind it.
func parseOrder(words []string) (o order, rest []string, err error) {
	if len(words) < 6 {
		return o, nil, errors.New("words are missing")
	}
	if _, err := fmt.Sscanf(words[0], "%x %x %t %d", &o.ignored, &o.closed, &o.lend, &o.socket); err != nil {
		return o, nil, err
	}
	o.root, o.dir, o.spoof, o.twins, rest = words[1], words[2], words[3], words[4], words[5:]
	if len(rest) < 3 || rest[0] != "--" {
		return o, nil, errors.New("there is no command")
	}
	return o, rest[1:], nil
}
