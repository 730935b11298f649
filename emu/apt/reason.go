package apt

import (
	"errors"
	"slices"
	"strings"
)

// Reason is the one line that gives the cause.
func (e *Error) Reason() string {
	if reason := Reason(e.Said); reason != "" {
		return reason
	}
	return e.Err.Error()
}

// Obstacle reports whether apt-get would fail in the same way for any other package.
func (e *Error) Obstacle() bool { return first(e.Said, obstacle) != "" }

// Reason finds the line that says why apt-get, dpkg or debootstrap failed in its output; "" if it
// printed nothing.
func Reason(said string) string {
	for _, find := range []finder{obstacle, dpkgError, notFetched, unmet, marked("E: "), marked("W: ")} {
		if reason := first(said, find); reason != "" {
			return reason
		}
	}
	said = strings.TrimSpace(said)
	return said[strings.LastIndex(said, "\n")+1:]
}

// A finder takes a reason out of a line and the one after it; "" where there is none. It is not a
// regular expression, since that would make every start of the program slower.
type finder func(line, next string) string

// first is the first reason that find finds.
func first(said string, find finder) string {
	lines := append(strings.Split(said, "\n"), "")
	for i, line := range lines[:len(lines)-1] {
		if reason := find(line, lines[i+1]); reason != "" {
			return strings.TrimSpace(reason)
		}
	}
	return ""
}

// obstacle is a failure that has nothing to do with the requested packages.
func obstacle(line, _ string) string {
	line = strings.TrimPrefix(line, "E: ")
	for _, start := range []string{"dpkg was interrupted", "Unmet dependencies. Try", "Could not get lock", "Unable to acquire", "Unable to lock",
		"You don't have enough free space", "The list of sources could not be read"} {
		if strings.HasPrefix(line, start) {
			return line
		}
	}
	if containsAny(line, "No space left on device", "Read-only file system") {
		return line
	}
	return ""
}

// dpkgError is dpkg's message about a package, in two lines.
func dpkgError(line, next string) string {
	const start = "dpkg: error processing "
	if strings.HasPrefix(line, start+"package ") || strings.HasPrefix(line, start+"archive ") {
		return line + " " + strings.TrimSpace(next)
	}
	return ""
}

// notFetched is an address and the obstacle, without the server's own address, which comes last.
func notFetched(line, _ string) string {
	_, what, found := strings.Cut(line, ": Failed to fetch ")
	if !found || line[0] != 'E' && line[0] != 'W' {
		return ""
	}
	address, why, _ := strings.Cut(what, " ")
	why, _, _ = strings.Cut(why, "[IP: ")
	return address + ": " + strings.TrimSpace(why)
}

// unmet is a package that cannot be installed because another is missing.
func unmet(line, _ string) string {
	name, what, found := strings.Cut(strings.TrimPrefix(line, " "), " : ")
	kind, _, _ := strings.Cut(what, ":")
	if found && strings.HasPrefix(line, " ") && !strings.Contains(name, " ") && slices.Contains([]string{"Depends", "PreDepends", "Pre-Depends", "Conflicts", "Breaks"}, kind) {
		return line
	}
	return ""
}

func marked(mark string) finder {
	return func(line, _ string) string {
		if text, found := strings.CutPrefix(line, mark); found {
			return text
		}
		return ""
	}
}

// Answered reports whether any server answered, by the output of `apt-get update`.
func Answered(said string) bool {
	return first(said, func(line, _ string) string {
		for _, start := range []string{"Hit:", "Get:"} {
			if rest, found := strings.CutPrefix(line, start); found && strings.TrimLeft(rest, "0123456789") != rest {
				return line
			}
		}
		return ""
	}) != ""
}

// Unreachable reports whether a server did not answer: no other file will come from it either.
func Unreachable(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && containsAny(failed.Reason(), "Could not connect", "Cannot initiate the connection", "Unable to connect", "Could not resolve",
		"Temporary failure resolving", "Connection failed", "Connection timed out", "No route to host", "Network is unreachable")
}

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
