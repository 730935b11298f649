// Package entrypoint is how binproxy starts itself in a private mode, as `binproxy :NAME
// WORD...`: the names of the modes, and the message that a mode gets.
//
// The message is the words behind the name: paths and arguments, which an argv can hold as they
// are, whatever their bytes. Only the kernel's own limit for an exec bounds it. It needs no
// descriptor (a command must inherit the caller's and no others), no /proc and no memory file, and
// it goes through every process that execs in between, a launcher or a deputy. Everybody can read
// an argv, so nothing secret is in the message: an environment goes as the environment. Where the
// kernel takes no long argv, as for the first process of a User Mode Linux, the same words lie in
// a file (Pack).
//
// One start is not a mode: sys.ForkName, by which the first instructions of the program know that
// they must make two processes of it, before Go has started. The arguments behind it are those of
// an ordinary start.
//
// Both sides are the same program, so words have no keys: a message visits its fields in one
// order, to be written and to be read.
package entrypoint

import (
	"os"
	"os/exec"
	"strings"

	"binproxy/emu/exit"
)

// Self is the file of this program, whatever its name may mean by now.
const Self = "/proc/self/exe"

// Name is what a mode is called. No applet has such a name.
type Name string

// The modes. What each runs is in the table of the applets.
const (
	Launch    Name = ":launch"    // the first child of a supervisor, which becomes the command
	Probe     Name = ":probe"     // a question to the machine
	Userns    Name = ":userns"    // the first process of a user namespace, which becomes a command
	Make      Name = ":make"      // makes a container around itself
	Hold      Name = ":hold"      // holds a container for a user who is alone in it
	Enter     Name = ":enter"     // lands in a container under a supervisor
	Prove     Name = ":prove"     // runs the smallest program under a supervisor
	Bootstrap Name = ":bootstrap" // makes a root, as root of a namespace
	Answer    Name = ":answer"    // makes system calls, and says what each answers
	Deny      Name = ":deny"      // denies one system call and becomes a command
	Rerun     Name = ":rerun"     // `kernel run` under a supervisor that tells the release
	Jail      Name = ":jail"      // the first process of the namespaces that a kernel runs in
	Guest     Name = ":guest"     // the first process of a User Mode Linux
	Network   Name = ":network"   // becomes the guest's network
)

// Row is a row of the table.
type Row struct {
	Name Name
	Run  func(words []string) error
}

// Main runs the mode that argv names; not ok where it names none of the table.
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

// Argv starts the mode with the message: argv for Self.
func Argv(name Name, m Message) ([]string, error) {
	words, err := Write(m)
	return append([]string{"binproxy", string(name)}, words...), err
}

// Command is Self in the mode, with the message; what is wrong with that is the error of its
// Start.
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
