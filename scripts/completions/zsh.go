package main

import (
	"fmt"
	"strings"
)

// zsh finds the place that the words before lead to, and hands what follows it to _arguments, as
// if that were a command of its own.
func zsh(table []place) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef binproxy\n# zsh completion for binproxy, made from its applets\n\n"+
		"_binproxy_arch() {\n\tcompadd -- %s\n}\n\n_binproxy() {\n\tlocal at= word\n\tlocal -a commands places=(\n",
		strings.Join(archNames(), " "))
	for _, p := range table[1:] {
		fmt.Fprintf(&b, "\t\t%s\n", quoted(p.path))
	}
	b.WriteString("\t)\n" + zshMain)
	for _, p := range table {
		fmt.Fprintf(&b, "\t%s)\n", quoted(p.path))
		if len(p.words) > 0 {
			b.WriteString("\t\tcommands=(\n")
			for _, w := range p.words {
				fmt.Fprintf(&b, "\t\t\t%s\n", quoted(w.name+":"+strings.ReplaceAll(brief(w.text), ":", `\:`)))
			}
			b.WriteString("\t\t)\n")
		}
		b.WriteString("\t\t_arguments \\\n")
		for _, o := range p.flags {
			fmt.Fprintf(&b, "\t\t\t%s \\\n", quoted(zshSpec(o)))
		}
		b.WriteString("\t\t\t'--help[tell more]' \\\n")
		if len(p.words) > 0 {
			b.WriteString("\t\t\t'1:command:{_describe command commands}'\n\t\t;;\n")
		} else {
			b.WriteString("\t\t\t'*:file:_files'\n\t\t;;\n")
		}
	}
	b.WriteString("\tesac\n}\n\n_binproxy \"$@\"\n")
	return b.String()
}

const zshMain = `	while ((CURRENT > 2)); do
		word=${at:+$at }$words[2]
		((${places[(Ie)$word]})) || break
		at=$word
		shift words
		((CURRENT--))
	done
	case $at in
`

// zshSpec is a flag as _arguments reads it. A flag may be given several times.
func zshSpec(o option) string {
	text := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(brief(o.text))
	if o.value == "" {
		return fmt.Sprintf("*%s[%s]", o.name, text)
	}
	name := o.name
	if strings.HasPrefix(name, "--") {
		name += "=" // or the next word
	}
	value := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(o.value)
	return fmt.Sprintf("*%s[%s]:%s:%s", name, text, value, zshKinds[o.kind])
}

var zshKinds = map[kind]string{anything: " ", files: "_files", directories: "_files -/", archs: "_binproxy_arch"}
