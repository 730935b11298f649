// Command trace-svg draws traces of `binproxy run --trace` below each other, on one scale of time:
//
//	go run ./scripts/trace-svg TITLE=FILE... >docs/twins.svg
//
// A program is a bar, dark if it ran emulated, light if it ran as twin. The programs that a
// process ran one after another are in one row; processes that did not run at the same time share
// rows.
package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	var panels []panel
	for _, arg := range os.Args[1:] {
		title, file, ok := strings.Cut(arg, "=")
		if !ok {
			fail(fmt.Errorf("%q is not TITLE=FILE", arg))
		}
		p, err := read(title, file)
		if err != nil {
			fail(err)
		}
		panels = append(panels, p)
	}
	if len(panels) == 0 {
		fail(fmt.Errorf("there is no trace to draw"))
	}
	draw(os.Stdout, panels)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "trace-svg:", err)
	os.Exit(1)
}

// A bar is one program: times in microseconds.
type bar struct {
	name, arch string
	pid        int
	begin, end int64
	row        int
}

type panel struct {
	title string
	bars  []bar
	rows  int
	end   int64
}

// read reads a trace: the pairs of events B and E.
func read(title, file string) (panel, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return panel{}, err
	}
	var events []struct {
		Name, Ph string
		TS       int64
		PID      int
		Args     struct{ Arch string }
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return panel{}, fmt.Errorf("%s: %w", file, err)
	}
	p := panel{title: title}
	open := map[int]bar{}
	for _, e := range events {
		switch e.Ph {
		case "B":
			open[e.PID] = bar{name: e.Name, arch: e.Args.Arch, pid: e.PID, begin: e.TS}
		case "E":
			if b, ok := open[e.PID]; ok {
				b.end = e.TS
				p.bars, p.end = append(p.bars, b), max(p.end, b.end)
				delete(open, e.PID)
			}
		}
	}
	p.place()
	return p, nil
}

// place gives each bar its process's row, the first one that is free when the process begins.
func (p *panel) place() {
	slices.SortStableFunc(p.bars, func(a, b bar) int { return int(a.begin - b.begin) })
	last := map[int]int64{} // when a process ends
	for _, b := range p.bars {
		last[b.pid] = max(last[b.pid], b.end)
	}
	var free []int64 // by row
	rows := map[int]int{}
	for i := range p.bars {
		b := &p.bars[i]
		row, ok := rows[b.pid]
		if !ok {
			row = slices.IndexFunc(free, func(t int64) bool { return t <= b.begin })
			if row < 0 {
				row, free = len(free), append(free, 0)
			}
			rows[b.pid], free[row] = row, last[b.pid]
		}
		b.row = row
	}
	p.rows = len(free)
}

// Pixels.
const (
	width, left, right      = 960, 10, 10
	rowHeight, head, bottom = 15, 26, 30
)

func draw(w io.Writer, panels []panel) {
	height := bottom
	var end int64 = 1
	for _, p := range panels {
		height += head + p.rows*rowHeight + 12
		end = max(end, p.end)
	}
	scale := float64(width-left-right) / float64(end)
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="10">`+"\n", width, height)
	fmt.Fprintf(w, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, height)
	y := 0
	for _, p := range panels {
		p.draw(w, y, scale)
		y += head + p.rows*rowHeight + 12
	}
	fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">emulated</text>\n", left, y+8, colour("arm64"), left+17, y+17)
	fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">twin</text>\n", left+80, y+8, colour("twin"), left+97, y+17)
	fmt.Fprintln(w, "</svg>")
}

func (p panel) draw(w io.Writer, y int, scale float64) {
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" font-size=\"12\" font-weight=\"bold\">%s: %.1f s</text>\n", left, y+17, html.EscapeString(p.title), float64(p.end)/1e6)
	for _, b := range p.bars {
		x, long := float64(left)+float64(b.begin)*scale, float64(b.end-b.begin)*scale
		if long < 0.05 {
			continue // too small to be seen
		}
		top := y + head + b.row*rowHeight
		fmt.Fprintf(w, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\" stroke=\"#fff\" stroke-width=\"0.3\"/>\n", x, top, long, rowHeight-2, colour(b.arch))
		if room := int(long / 6); room >= len(b.name) {
			fmt.Fprintf(w, "<text x=\"%.1f\" y=\"%d\" fill=\"%s\">%s</text>\n", x+2, top+10, ink(b.arch), html.EscapeString(b.name))
		}
	}
}

func colour(arch string) string {
	switch arch {
	case "twin":
		return "#e8a33d"
	case "native":
		return "#9aa5b1"
	}
	return "#31507a"
}

func ink(arch string) string {
	if arch == "twin" || arch == "native" {
		return "#000"
	}
	return "#fff"
}
