// Package entrypoint starts binproxy itself in a private mode, as `binproxy :NAME WORD...`. It has
// the names of the modes, and writes and reads the message that a mode gets.
//
// The message is the words after the name: paths and arguments, which an argv can hold unchanged,
// whatever their bytes. Only the kernel's own limit for an exec bounds it. It needs no descriptor
// (a command must inherit the caller's and no others), no /proc and no memory file, and it passes
// through every process that execs in between, a launcher or a deputy. Everybody can read an argv,
// so the message has no secrets: an environment travels as the environment. Where the kernel takes
// no long argv, as for the first process of a User Mode Linux, a file holds the same words (Pack).
//
// One start is not a mode: sys.ForkName makes the first instructions of the program split it into
// two processes, before Go has started. The arguments after it are those of an ordinary start.
//
// Both sides are the same program, so words have no keys: a message visits its fields in the same
// order for writing and for reading.
package entrypoint

import (
	"os"
	"os/exec"
	"strings"

	"binproxy/emu/exit"
)

// Self is this program's file, even if its name leads to another one by now.
const Self = "/proc/self/exe"

// Name is the name of a mode. No applet has such a name.
type Name string

// The modes. The applets' table says what each runs.
const (
	Launch    Name = ":launch"    // the first child of a supervisor, which becomes the command
	Probe     Name = ":probe"     // a question to the machine
	Userns    Name = ":userns"    // the first process of a user namespace, which becomes a command
	Make      Name = ":make"      // makes a container around itself
	Hold      Name = ":hold"      // holds a container for a user who is alone in it
	Enter     Name = ":enter"     // enters a container under a supervisor
	Prove     Name = ":prove"     // runs the smallest program under a supervisor
	Bootstrap Name = ":bootstrap" // makes a root, as root of a namespace
	Answer    Name = ":answer"    // makes system calls, and reports each answer
	Deny      Name = ":deny"      // denies one system call and becomes a command
	Rerun     Name = ":rerun"     // `kernel run` under a supervisor that shows the release
	Jail      Name = ":jail"      // the first process of the namespaces that a kernel runs in
	Guest     Name = ":guest"     // the first process of a User Mode Linux
	Network   Name = ":network"   // becomes the guest's network
)

// Row is a row of the table.
type Row struct {
	Name Name
	Run  func(words []string) error
}

// Main runs the mode that argv names. ok is false if the table has no such mode.
func Main(table []Row, argv []string) (ok bool, err error) {
	if len(argv) < 2 {
		return false, nil
	}
	for _, row := range table {
		if string(row.Name) == argv[1] {
			return true, row.Run(argv[2:])
		}
	}
	return false, nil
}

// Argv is the argument vector that starts Self in the mode, with the message.
func Argv(name Name, m Message) ([]string, error) {
	words, err := Write(m)
	return append([]string{"binproxy", string(name)}, words...), err
}

// Command is Self in the mode, with the message. Its Start returns the error of a bad message.
func Command(name Name, m Message) *exec.Cmd {
	argv, err := Argv(name, m)
	return &exec.Cmd{Path: Self, Args: argv, Err: err}
}

// Pack is a message as the text of a file: each word ends with a NUL, as in /proc/PID/cmdline.
func Pack(m Message) ([]byte, error) {
	words, err := Write(m)
	var text []byte
	for _, word := range words {
		text = append(append(text, word...), 0)
	}
	return text, err
}

// Unpack reads the message in the file.
func Unpack(path string, m Message) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return unpack(string(text), m)
}

func unpack(text string, m Message) error {
	if text == "" {
		return Read(nil, m)
	}
	body, whole := strings.CutSuffix(text, "\x00")
	if !whole {
		return exit.Errorf(exit.Failed, "the message's last word is cut off")
	}
	return Read(strings.Split(body, "\x00"), m)
}
