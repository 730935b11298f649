package spoof

import "binproxy/emu/supervise/tracee"

// unameCalls are the calls that return the identity.
var unameCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 160}, unameOf: newUtsname},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 122}, unameOf: newUtsname},
}

// statCalls are the calls that look at an open file.
var statCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 80}, statOf: fstat, fstatAt: 79},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 79}, statOf: fstatAt},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 291}, statOf: statxForm},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 197}, statOf: fstat, fstatAt: 327},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 327}, statOf: fstatAt},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 397}, statOf: statxForm},
}

// newCalls are the calls that can make a user namespace, with the flags as first argument.
var newCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 220}},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 97}},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 120}},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 337}},
}

// openCalls are the calls that open a file for reading.
var openCalls = [...]call{
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 56}, openOf: openAt},
	{Call: tracee.Call{ABI: tracee.ABI64, Nr: 437}, openOf: openHow},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 5}, openOf: openPath},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 322}, openOf: openAt},
	{Call: tracee.Call{ABI: tracee.ABI32, Nr: 437}, openOf: openHow},
}
