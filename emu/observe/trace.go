package observe

import (
	"encoding/json"
	"io"
	"time"
)

// trace writes events in the Trace Event Format (its JSON array form, which Perfetto,
// chrome://tracing and speedscope read). A program is a pair of events, B and E, on the row of its
// process; a fork without an exec is one event X. Each event is written whole and at once: if we
// are killed, the file lacks only the end of the array, which the format allows.
//
// Source: "Trace Event Format", the document of the Chromium project.
type trace struct {
	w     io.Writer
	comma bool
	err   error
}

type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	Time  int64          `json:"ts"` // microseconds
	Dur   *int64         `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

func newTrace(w io.Writer) *trace {
	t := &trace{w: w}
	t.write([]byte("["))
	return t
}

func (t *trace) write(b []byte) {
	if t.err == nil {
		_, t.err = t.w.Write(b)
	}
}

func (t *trace) put(events ...event) {
	var line []byte
	for _, e := range events {
		if t.comma {
			line = append(line, ',')
		}
		t.comma = true
		text, err := json.Marshal(e)
		if err != nil {
			t.err = err
			return
		}
		line = append(append(line, '\n'), text...)
	}
	t.write(line)
}

func (t *trace) begin(k *link) {
	name := k.program.name()
	args := map[string]any{
		"argv": append([]string{}, k.program.Argv...), "file": k.program.File, "arch": k.program.kind(), "parent": k.parent,
	}
	if k.program.Twin != "" {
		args["twin"] = k.program.Twin
	}
	if k.program.Why != "" {
		args["no_twin"] = k.program.Why
	}
	t.put(event{Name: "process_name", Phase: "M", PID: k.pid, TID: k.pid, Args: map[string]any{"name": name}},
		event{Name: name, Phase: "B", Time: k.begin.Microseconds(), PID: k.pid, TID: k.pid, Args: args})
}

func (t *trace) end(k *link, e ending) {
	ev := event{Phase: "E", Time: e.at.Microseconds(), PID: k.pid, TID: k.pid, Args: e.args()}
	if k.program != nil {
		ev.Name = k.program.name()
	}
	if k.forked {
		if e.exec {
			return // there is hardly anything between fork and exec
		}
		length := (e.at - k.begin).Microseconds()
		ev.Phase, ev.Time, ev.Dur = "X", k.begin.Microseconds(), &length
		ev.Args["parent"], ev.Args["forked"] = k.parent, true
		if k.program != nil {
			ev.Args["arch"] = k.program.kind()
		}
	}
	t.put(ev)
}

// args are what the end shows: CPU time in microseconds, and how the link ended.
func (e ending) args() map[string]any {
	args := map[string]any{}
	if e.cpu != Unknown {
		args["cpu_us"] = int64(e.cpu / time.Microsecond)
	}
	switch {
	case e.exec:
		args["ended"] = "exec"
	case e.lost:
		args["ended"] = "left behind"
	case e.status.Signaled():
		args["ended"], args["signal"] = "signal", int(e.status.Signal())
	default:
		args["ended"], args["status"] = "exit", e.status.ExitStatus()
	}
	return args
}

func (t *trace) close() error {
	t.write([]byte("\n]\n"))
	return t.err
}
