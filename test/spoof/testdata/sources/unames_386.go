package main

import "golang.org/x/sys/unix"

var unames = []unameCall{
	{"uname", 65, caller(newUname)},
	{"olduname", 65, caller(unix.SYS_OLDUNAME)},
	{"oldolduname", 9, caller(unix.SYS_OLDOLDUNAME)},
}
