package spoof

import "binproxy/emu/supervise/tracee"

// unameCalls are the calls that return the identity.
var unameCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 63}, unameOf: newUtsname},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 63 | tracee.X32}, unameOf: newUtsname},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 122}, unameOf: newUtsname},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 109}, unameOf: newUtsname},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 59}, unameOf: oldoldUtsname},
}

// statCalls are the calls that look at an open file.
var statCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 5}, statOf: fstat, fstatAt: 262},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 262}, statOf: fstatAt},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 332}, statOf: statxForm},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 5 | tracee.X32}, statOf: fstat, fstatAt: 262 | tracee.X32},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 262 | tracee.X32}, statOf: fstatAt},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 332 | tracee.X32}, statOf: statxForm},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 197}, statOf: fstat, fstatAt: 300},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 300}, statOf: fstatAt},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 383}, statOf: statxForm},
}

// newCalls are the calls that can make a user namespace, with the flags as first argument.
var newCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 56}},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 272}},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 56 | tracee.X32}},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 272 | tracee.X32}},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 120}},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 310}},
}

// openCalls are the calls that open a file for reading.
var openCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 2}, openOf: openPath},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 257}, openOf: openAt},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 437}, openOf: openHow},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 2 | tracee.X32}, openOf: openPath},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 257 | tracee.X32}, openOf: openAt},
	{Call: tracee.Call{ABI: tracee.ABIX32, Nr: 437 | tracee.X32}, openOf: openHow},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 5}, openOf: openPath},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 295}, openOf: openAt},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 437}, openOf: openHow},
}
