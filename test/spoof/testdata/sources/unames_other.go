//go:build !386

package main

var unames = []unameCall{{"uname", 65, caller(newUname)}}
