package builder

import (
	"slices"
	"strings"
)

// buildctl translates arguments of docker build for `buildctl build`. If they are buildctl's own
// already (--frontend, --local, --opt ...), they stay as they are.
func buildctl(args []string) []string {
	for _, a := range args {
		name, _, _ := strings.Cut(a, "=")
		switch name {
		case "--frontend", "--local", "--opt", "--metadata-file", "--export-cache", "--import-cache":
			return args
		}
	}
	t := translation{file: "Dockerfile", context: "."}
	t.read(args)
	return append([]string{"--frontend", "dockerfile.v0"}, t.result()...)
}

// translation is a docker build's command line, translated for buildctl.
type translation struct {
	file, context string
	tags          []string
	push          bool
	out           []string
}

type flagRow struct{ docker, buildctl, value string }

// valued are docker's flags that take a value, with buildctl's form of each; %s is the value.
var valued = [...]flagRow{
	{"--build-arg", "--opt", "build-arg:%s"},
	{"--target", "--opt", "target=%s"},
	{"--label", "--opt", "label:%s"},
	{"--network", "--opt", "force-network-mode=%s"},
	{"--add-host", "--opt", "add-hosts=%s"},
	{"--build-context", "--opt", "context:%s"},
	{"--secret", "--secret", "%s"},
	{"--ssh", "--ssh", "%s"},
	{"--progress", "--progress", "%s"},
	{"--output", "--output", "%s"},
	{"-o", "--output", "%s"},
	{"--cache-from", "--import-cache", "%s"},
	{"--cache-to", "--export-cache", "%s"},
}

func (t *translation) read(args []string) {
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		next := func() string {
			if joined || i+1 >= len(args) {
				return value
			}
			i++
			return args[i]
		}
		row := slices.IndexFunc(valued[:], func(v flagRow) bool { return v.docker == name })
		switch {
		case row >= 0:
			t.out = append(t.out, valued[row].buildctl, strings.Replace(valued[row].value, "%s", next(), 1))
		case name == "-f" || name == "--file":
			t.file = next()
		case name == "-t" || name == "--tag":
			t.tags = append(t.tags, next())
		case name == "--push":
			t.push = true
		case strings.HasPrefix(name, "-"):
			t.out = append(t.out, args[i]) // buildctl reports what it does not know
		default:
			t.context = args[i]
		}
	}
}

func (t *translation) result() []string {
	dir, file := ".", t.file
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		dir, file = file[:i+1], file[i+1:]
	} else if t.file == "Dockerfile" {
		dir = t.context
	}
	out := []string{"--local", "context=" + t.context, "--local", "dockerfile=" + dir, "--opt", "filename=" + file}
	if len(t.tags) > 0 {
		output := `type=image,"name=` + strings.Join(t.tags, ",") + `"`
		if t.push {
			output += ",push=true"
		}
		out = append(out, "--output", output)
	}
	return append(out, t.out...)
}
