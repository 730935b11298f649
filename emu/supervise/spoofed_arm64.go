package supervise

import "golang.org/x/sys/unix"

// unameCalls are the ways to ask for the identity.
var unameCalls = [...]spoofedCall{
	{execCall: execCall{arch: unix.AUDIT_ARCH_AARCH64, nr: 160, numbers: numbers64}, unameOf: newUtsname},
	{execCall: execCall{arch: unix.AUDIT_ARCH_ARM, nr: 122, compat: true, numbers: numbers32}, unameOf: newUtsname},
}

// openCalls are the ways to open a file for reading.
var openCalls = [...]spoofedCall{
	{execCall: execCall{arch: unix.AUDIT_ARCH_AARCH64, nr: 56, numbers: numbers64}, openOf: openAt},
	{execCall: execCall{arch: unix.AUDIT_ARCH_AARCH64, nr: 437, numbers: numbers64}, openOf: openHow},
	{execCall: execCall{arch: unix.AUDIT_ARCH_ARM, nr: 5, compat: true, numbers: numbers32}, openOf: openPath},
	{execCall: execCall{arch: unix.AUDIT_ARCH_ARM, nr: 322, compat: true, numbers: numbers32}, openOf: openAt},
	{execCall: execCall{arch: unix.AUDIT_ARCH_ARM, nr: 437, compat: true, numbers: numbers32}, openOf: openHow},
}
