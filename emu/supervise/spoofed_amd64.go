package supervise

import "golang.org/x/sys/unix"

// unameCalls are the ways to ask for the identity.
var unameCalls = [...]spoofedCall{
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 63, numbers: numbers64}, unameOf: newUtsname},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 63 | x32, numbers: numbersX32}, unameOf: newUtsname},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 122, compat: true, numbers: numbers386}, unameOf: newUtsname},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 109, compat: true, numbers: numbers386}, unameOf: newUtsname},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 59, compat: true, numbers: numbers386}, unameOf: oldoldUtsname},
}

// openCalls are the ways to open a file for reading.
var openCalls = [...]spoofedCall{
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 2, numbers: numbers64}, openOf: openPath},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 257, numbers: numbers64}, openOf: openAt},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 437, numbers: numbers64}, openOf: openHow},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 2 | x32, numbers: numbersX32}, openOf: openPath},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 257 | x32, numbers: numbersX32}, openOf: openAt},
	{execCall: execCall{arch: unix.AUDIT_ARCH_X86_64, nr: 437 | x32, numbers: numbersX32}, openOf: openHow},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 5, compat: true, numbers: numbers386}, openOf: openPath},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 295, compat: true, numbers: numbers386}, openOf: openAt},
	{execCall: execCall{arch: unix.AUDIT_ARCH_I386, nr: 437, compat: true, numbers: numbers386}, openOf: openHow},
}
