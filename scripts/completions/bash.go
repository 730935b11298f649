package main

import (
	"fmt"
	"strings"
)

// bash finds the place that the words before lead to, and offers what can follow there. It splits
// a word at its "=", so "--arch=arm64" is three.
func bash(table []place) string {
	var b strings.Builder
	b.WriteString(`# bash completion for binproxy, made from its applets

# _binproxy_words PLACE: the commands that may follow there; fails where there is no such place
_binproxy_words() {
	case $1 in
`)
	for _, p := range table {
		fmt.Fprintf(&b, "\t%s) echo %s ;;\n", quoted(p.path), quoted(names(p.words)))
	}
	b.WriteString("\t*) return 1 ;;\n\tesac\n}\n\n_binproxy_flags() {\n\tcase $1 in\n")
	for _, p := range table {
		if len(p.flags) > 0 {
			fmt.Fprintf(&b, "\t%s) echo %s ;;\n", quoted(p.path), quoted(flagNames(p)))
		}
	}
	b.WriteString("\tesac\n}\n\n# _binproxy_value PLACE FLAG: what its value is; nothing for a switch\n_binproxy_value() {\n\tcase $1' '$2 in\n")
	for _, p := range table {
		for _, o := range p.flags {
			if o.value != "" {
				fmt.Fprintf(&b, "\t%s) echo %s ;;\n", quoted(p.path+" "+o.name), bashKinds[o.kind])
			}
		}
	}
	fmt.Fprintf(&b, "\tesac\n}\n%s", strings.ReplaceAll(bashMain, "ARCHS", strings.Join(archNames(), " ")))
	return b.String()
}

var bashKinds = map[kind]string{anything: "anything", files: "file", directories: "directory", archs: "arch"}

func names(words []word) string {
	var all []string
	for _, w := range words {
		all = append(all, w.name)
	}
	return strings.Join(all, " ")
}

func flagNames(p place) string {
	var all []string
	for _, o := range p.flags {
		all = append(all, o.name)
	}
	return strings.Join(all, " ")
}

const bashMain = `
_binproxy() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} place= next word
	if [ "$current" = = ]; then
		current=
	elif [ "$before" = = ]; then
		before=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [ "$word" = -- ]; then # a command's own words
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -c -f -- "$current")
			return
		fi
		next=${place:+$place }$word
		! _binproxy_words "$next" >/dev/null || place=$next
	done
	case $(_binproxy_value "$place" "$before") in
	anything) COMPREPLY=() ;;
	file) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
	directory) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
	arch) mapfile -t COMPREPLY < <(compgen -W 'ARCHS' -- "$current") ;;
	*)
		case $current in
		-*) mapfile -t COMPREPLY < <(compgen -W "$(_binproxy_flags "$place") --help" -- "$current") ;;
		*) mapfile -t COMPREPLY < <(compgen -W "$(_binproxy_words "$place")" -- "$current") ;;
		esac
		if [ ${#COMPREPLY[@]} = 0 ] && [ -n "$place" ]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
		fi
		;;
	esac
}
complete -F _binproxy binproxy
`
