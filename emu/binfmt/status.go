package binfmt

import (
	"os"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// ABIs lists the ABIs whose programs the entry matches.
func (e Entry) ABIs() []*arch.ABI {
	var abis []*arch.ABI
	for _, abi := range arch.All() {
		if e.Serves(abi) {
			abis = append(abis, abi)
		}
	}
	return abis
}

// Limits says what does not work because of the entry's flags, a sentence each.
func (e Entry) Limits() []string {
	var limits []string
	if !e.Has(Credentials) {
		limits = append(limits, "no flag C: setuid programs run without their rights, so sudo and su do not work")
	} else {
		limits = append(limits, "flag C: the emulator runs with the rights of setuid programs; whoever can change "+e.Interpreter+" has them")
	}
	if !e.Has(FixBinary) {
		limits = append(limits, "no flag F: in a chroot or a container "+e.Interpreter+" has to be there, too")
	} else if _, err := os.Stat(e.Interpreter); err != nil {
		limits = append(limits, "flag F: the kernel holds the emulator open; "+e.Interpreter+" itself is not here")
	}
	if !e.Has(PreserveArgv0) && !wrapped(e.Interpreter) {
		limits = append(limits, "no flag P: programs see their path as argv[0], not the name that they were called by")
	}
	return limits
}

// wrapped reports whether the interpreter is one of Debian's links that keep argv[0] by their
// name.
func wrapped(interpreter string) bool { return strings.HasSuffix(interpreter, "-binfmt-P") }

// Explain gives a flag's meaning.
func Explain(flag rune) string {
	switch flag {
	case PreserveArgv0:
		return "keeps argv[0]"
	case OpenBinary:
		return "opens the program for the emulator"
	case Credentials:
		return "takes credentials from the program"
	case FixBinary:
		return "emulator fixed at registration"
	}
	return "unknown to this binproxy"
}

// Foreign lists every ABI that the host does not run itself and QEMU has an emulator for, once per
// emulator.
func Foreign() []*arch.ABI {
	var abis []*arch.ABI
	for _, abi := range arch.All() {
		same := func(other *arch.ABI) bool { return other.QEMU == abi.QEMU }
		if abi.QEMU != "" && !abi.Native(arch.Host()) && !slices.ContainsFunc(abis, same) {
			abis = append(abis, abi)
		}
	}
	return abis
}
