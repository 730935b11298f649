package identity

import "fmt"

// Proc is the way in which the kernel's files (Files) show the identity.
type Proc string

const (
	// ProcAuto covers the files with mounts where the kernel lets us, and is ProcTrace elsewhere.
	ProcAuto Proc = "auto"
	// ProcTrace looks at every open for reading. It needs no privilege, but costs every open of
	// every program.
	ProcTrace Proc = "trace"
	// ProcNo leaves the files alone.
	ProcNo Proc = "no"
	// ProcCovered is for those who find the files covered already. Nobody asks for it by name.
	ProcCovered Proc = "covered"
)

// ProcEnv is the variable that takes precedence over the configuration.
const ProcEnv = "BINPROXY_PROC"

// ParseProc reads a Proc; "" is ProcAuto.
func ParseProc(text string) (Proc, error) {
	switch p := Proc(text); p {
	case "":
		return ProcAuto, nil
	case ProcAuto, ProcTrace, ProcNo:
		return p, nil
	}
	return "", fmt.Errorf("proc %q: it is auto, trace or no", text)
}
