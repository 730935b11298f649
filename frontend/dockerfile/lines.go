package dockerfile

import "strings"

// lines are the lines of a file with what is to be inserted after each. Line 1 is the first.
type lines struct {
	own      []string // with their ends
	after    map[int][]string
	end      string
	inserted int
}

func newLines(text []byte) *lines {
	l := &lines{after: map[int][]string{}, end: "\n"}
	for line := range strings.Lines(string(text)) {
		l.own = append(l.own, line)
	}
	if strings.HasSuffix(l.own[0], "\r\n") {
		l.end = "\r\n"
	}
	return l
}

// insert inserts lines after a line.
func (l *lines) insert(after int, prefix string, inserted []string) {
	for _, line := range inserted {
		l.after[after] = append(l.after[after], prefix+line+l.end)
		l.inserted++
	}
}

// of is the text of the lines from first to last.
func (l *lines) of(first, last int) string { return strings.Join(l.own[first-1:last], "") }

// replace replaces these lines.
func (l *lines) replace(first, last int, text string) {
	clear(l.own[first-1 : last])
	l.own[first-1] = text
}

func (l *lines) text() []byte {
	var b strings.Builder
	for i, line := range l.own {
		b.WriteString(line)
		added := l.after[i+1]
		if len(added) > 0 && i == len(l.own)-1 && !strings.HasSuffix(line, "\n") {
			b.WriteString(l.end)
		}
		for _, line := range added {
			b.WriteString(line)
		}
	}
	return []byte(b.String())
}
