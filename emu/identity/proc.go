package identity

import "fmt"

// Proc says how the kernel's files (Files) are made to tell the identity.
type Proc string

const (
	// ProcAuto is covering the files with mounts, where the kernel lets us, and ProcTrace
	// elsewhere.
	ProcAuto Proc = "auto"
	// ProcTrace looks at every open for reading. That needs no privilege, and costs every open of
	// every program.
	ProcTrace Proc = "trace"
	// ProcNo leaves the files alone.
	ProcNo Proc = "no"
)

// ProcEnv is the variable that goes before the configuration.
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
