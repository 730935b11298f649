package main

import (
	"fmt"
	"strings"
)

// fish has one line for each word and each flag, with the place where it is offered.
func fish(table []place) string {
	var b strings.Builder
	b.WriteString("# fish completion for binproxy, made from its applets\n\n" +
		"# __binproxy_at PLACE: whether the words before lead there\nfunction __binproxy_at\n\tset -l places")
	for _, p := range table[1:] {
		b.WriteString(" " + fishQuoted(p.path))
	}
	b.WriteString(fishMain)
	for _, p := range table {
		at := fishQuoted("__binproxy_at " + fishQuoted(p.path))
		for _, w := range p.words {
			fmt.Fprintf(&b, "complete -c binproxy -n %s -f -a %s -d %s\n", at, fishQuoted(w.name), fishQuoted(brief(w.text)))
		}
		for _, o := range p.flags {
			fmt.Fprintf(&b, "complete -c binproxy -n %s %s -d %s%s\n", at, fishName(o.name), fishQuoted(brief(o.text)), fishValue(o))
		}
	}
	return b.String()
}

const fishMain = `
	set -l at ''
	for word in (commandline -opc)[2..-1]
		test "$word" = -- && return 1
		set -l next (string trim -- "$at $word")
		contains -- $next $places && set at $next
	end
	test "$at" = "$argv[1]"
end

complete -c binproxy -l help -d 'tell more'
`

func fishName(name string) string {
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return "-l " + long
	}
	return "-s " + name[1:]
}

func fishValue(o option) string {
	switch {
	case o.value == "":
		return ""
	case o.kind == files:
		return " -r -F"
	case o.kind == directories:
		return " -x -a '(__fish_complete_directories)'"
	case o.kind == archs:
		return " -x -a " + fishQuoted(strings.Join(archNames(), " "))
	}
	return " -x"
}

func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
