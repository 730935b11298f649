package twin

import (
	"path"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// Call is an exec for a twin to answer.
type Call struct {
	Args []string // the guest's, without argv[0]
	Env  []string
	Dir  string // the set's, as the caller sees it
	// Find gives the directory of a PATH where a command is found first, "" for none.
	Find func(path, name string) string
	// Has reports whether one of the names is in a directory.
	Has func(dir string, names []string) bool
}

// Edit is the difference between the twin's arguments and the guest's.
type Edit struct {
	First   []string       // before them
	Replace map[int]string // by index in Args
	Last    []string       // behind them
	// entries that replace the guest's of the same name, or are added
	Env []string
}

// builtIn reports whether the C library itself contains a locale, without data of the guest's.
func builtIn(locale string) bool {
	switch locale {
	case "", "C", "POSIX", "C.UTF-8", "C.utf8":
		return true
	}
	return false
}

// Fit gives the changes to a call for the verdict's twin, or the reason why the twin would act
// differently from the guest's program.
func (v *Verdict) Fit(c Call) (e Edit, why string) {
	if why := v.environment(c, &e); why != "" {
		return e, why
	}
	unless := v.Rule.unless
	if v.abi.Class == 32 || v.abi.Big != arch.Host().Big {
		unless = append(unless[:len(unless):len(unless)], v.Rule.unlike...)
	}
	for _, arg := range c.Args {
		if slices.ContainsFunc(unless, func(pattern string) bool { return fits(pattern, arg) }) {
			return e, "called with " + arg
		}
	}
	if only := v.Rule.only; only != nil && !slices.ContainsFunc(c.Args, func(arg string) bool { return slices.Contains(only, arg) }) {
		return e, "called with no command that the rule names"
	}
	if v.Rule.headers != "" {
		if why := v.headers(c, &e); why != "" {
			return e, why
		}
	}
	if v.Rule.goroot {
		if why := v.goDefaults(c, &e); why != "" {
			return e, why
		}
	}
	if v.Rule.plugin != "" {
		if why := v.plugin(c, &e); why != "" {
			return e, why
		}
	}
	return e, ""
}

// compilerPath is where gcc's passes look for each other's names without a prefix, before PATH.
const compilerPath = "COMPILER_PATH"

// environment gives the variable that forbids the twin, and adds those that it needs.
func (v *Verdict) environment(c Call, e *Edit) string {
	search, compilers := "", ""
	for _, entry := range c.Env {
		name, value, _ := strings.Cut(entry, "=")
		if why := v.loader(name, value, c); why != "" {
			return why
		}
		switch {
		case name == "PATH" && search == "":
			search = value
		case name == compilerPath && compilers == "":
			compilers = value
		case name == "LANG" || strings.HasPrefix(name, "LC_"):
			if !builtIn(value) {
				return entry + ": a locale's data may be of another version"
			}
		case emulator.NamesRoot(name):
			return name + " is set"
		case slices.Contains(v.Rule.without, name) || name == v.Rule.config.variable && value != v.config(c):
			return name + " is set"
		}
	}
	if v.Rule.linker {
		dir := c.Find(search, "ld")
		if dir == "" {
			return "there is no ld in PATH"
		}
		e.Env = []string{compilerPath + "=" + strings.TrimPrefix(compilers+":"+dir, ":")}
	}
	if file := v.config(c); file != "" {
		if !v.set.has(v.Rule.ConfigPath(v.abi)) {
			return file + " is not packed"
		}
		e.Env = append(e.Env, v.Rule.config.variable+"="+file)
	}
	return ""
}

// config is the path of the guest architecture's configuration file, as the caller sees it; "" if
// the rule has none.
func (v *Verdict) config(c Call) string {
	if v.Rule.config.variable == "" {
		return ""
	}
	return path.Join(c.Dir, v.Rule.ConfigPath(v.abi))
}

func (s *Set) has(file string) bool {
	return slices.ContainsFunc(s.Files, func(f File) bool { return f.Path == file })
}

// fits compares an argument with a pattern: "x*" matches all that begins with x, and "-*x" a
// bundle of one-letter options with x in it.
func fits(pattern, arg string) bool {
	if pattern == arg {
		return true
	}
	if letter, ok := strings.CutPrefix(pattern, "-*"); ok && letter != "" {
		bundle, isOption := strings.CutPrefix(arg, "-")
		return isOption && !strings.HasPrefix(bundle, "-") && strings.Contains(bundle, strings.TrimSuffix(letter, "*"))
	}
	start, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasPrefix(arg, start)
}

// PluginName is the file name of the plug-in by which linkers and ar understand gcc's intermediate
// code.
const PluginName = "liblto_plugin.so"

// plugin replaces gcc's plug-in by its twin.
func (v *Verdict) plugin(c Call, e *Edit) string {
	file := v.set.pluginFor(v.abi.Name, v.major)
	if file != "" {
		file = path.Join(c.Dir, file)
	}
	named := false
	for i := 0; i < len(c.Args); i++ {
		arg := c.Args[i]
		option, value, joined := strings.Cut(arg, "=")
		if option != "-plugin" && option != "--plugin" {
			continue
		}
		if !joined {
			if i++; i == len(c.Args) {
				return arg + " has no value"
			}
			value = c.Args[i]
		}
		if path.Base(value) != PluginName || file == "" {
			return "called with the plug-in " + value
		}
		named = true
		if e.Replace == nil {
			e.Replace = map[int]string{}
		}
		e.Replace[i] = file
		if joined {
			e.Replace[i] = option + "=" + file
		}
	}
	if v.Rule.plugin == "first" && !named && file != "" {
		e.First = []string{"--plugin", file}
	}
	return ""
}

// pluginFor finds the plug-in of an ABI's compiler; without a major version, the only one.
func (s *Set) pluginFor(abi, major string) string {
	found := ""
	for _, f := range s.Files {
		dir, base := path.Split(f.Path)
		if base != PluginName || !strings.HasPrefix(dir, abi+"/") || major != "" && dir != abi+"/"+major+"/" {
			continue
		}
		if found != "" {
			return ""
		}
		found = f.Path
	}
	return found
}
