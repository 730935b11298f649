// Command man documents the applets from their table. With a directory it writes the manual pages
// there, binproxy(1) and one for each row; without one, it prints docs/commands.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/applets"
	"binproxy/applets/applet"
)

func main() {
	switch len(os.Args) {
	case 1:
		fmt.Print(markdown())
		return
	case 2:
	default:
		fmt.Fprintln(os.Stderr, "usage: man [DIR]")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// write makes dir anew, so that it has no page of an applet that no longer exists.
func write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range pages() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// markdown is docs/commands.md: what `binproxy help` says of each applet.
func markdown() string {
	var b strings.Builder
	b.WriteString("<!-- go run ./scripts/man >docs/commands.md -->\n# Commands\n\n" +
		"What `binproxy help APPLET` says. The man pages are made from the same declarations.\n")
	for _, a := range applets.Table {
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s```\n", a.Name, a.Help())
	}
	return b.String()
}

// pages gives the pages by file name.
func pages() map[string]string {
	all := map[string]string{"binproxy.1": overview()}
	for _, a := range applets.Table {
		all["binproxy-"+a.Name+".1"] = page(a)
	}
	return all
}

func page(a *applet.Applet) string {
	var b strings.Builder
	b.WriteString(header("binproxy-"+a.Name, a.Synopsis) + ".SH SYNOPSIS\n.nf\n")
	for _, line := range a.Usage() {
		b.WriteString(escape(line) + "\n")
	}
	b.WriteString(".fi\n")
	for i, paragraph := range applet.Paragraphs(a.Text) {
		if i == 0 {
			b.WriteString(".SH DESCRIPTION\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			b.WriteString(".nf\n" + escape(paragraph) + "\n.fi\n")
		} else {
			b.WriteString(".PP\n" + escape(paragraph) + "\n")
		}
	}
	for _, s := range a.Sections() {
		fmt.Fprintf(&b, ".SH %s\n", escape(strings.ToUpper(s.Heading)))
		for _, i := range s.Items {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", escape(i.Name), escape(i.Text))
		}
	}
	b.WriteString(".SH EXIT STATUS\n" + exitStatus + ".SH SEE ALSO\n.BR binproxy (1)\n")
	return b.String()
}

func overview() string {
	var b strings.Builder
	b.WriteString(header("binproxy", "run container images of another architecture on a host that has nothing registered"))
	b.WriteString(".SH SYNOPSIS\n.B binproxy\nAPPLET [ARGUMENT...]\n.SH DESCRIPTION\n" +
		"Put into an image of another architecture, binproxy answers to the names of that image's own commands,\n" +
		"and runs each of them through qemu-user. By its own name it has these applets:\n")
	for _, a := range applets.Table {
		fmt.Fprintf(&b, ".TP\n.BR binproxy-%s (1)\n%s\n", escape(a.Name), escape(a.Synopsis))
	}
	b.WriteString(".SH EXIT STATUS\n" + exitStatus)
	return b.String()
}

const exitStatus = `.TP
125
binproxy itself failed
.TP
126
the program was found, but could not be run
.TP
127
the program was not found
.PP
Any other status is the program's own. If a signal ended the program, binproxy dies of that signal,
too; as the first process of a PID namespace it ends with 128+N, N being the signal's number.
`

func header(name, synopsis string) string {
	return fmt.Sprintf(".TH %s 1 \"\" binproxy\n.nh\n.ad l\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), escape(name), escape(synopsis))
}

// escape makes roff print the text unchanged.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
