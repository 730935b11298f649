package twin

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"binproxy/emu/arch"
)

//go:embed rules.txt
var rulesText string

// Rule is a block of rules.txt. It applies to the programs of its names.
type Rule struct {
	Set   string
	Names []string
	Never bool // they have no twins
	Why   string
	Speed int // about how many times faster than emulated, for the summary
	Try   []string

	passes []string // programs that these start and that may have twins

	guest, host []string // patterns of paths
	packages    []string // patterns of names
	// arguments, "x*" for all that begin with x, "-*x" for a bundle of one-letter options with x
	// in it
	unless []string
	// the same, for guests whose words differ from the host's: of 32 bits, or of another byte
	// order
	unlike  []string
	only    []string // one of them has to be an argument
	without []string // variables of the environment
	config  config
	// it writes words in the machine's byte order, so the guest's has to be the host's
	order   bool
	bits    int    // the guest's ABI has to be of this class; 0 for any
	headers string // "c" or "c++": it needs the guest's directories of headers
	plugin  string // gcc's plug-in for linkers: "named" by an argument, or to be named "first"
	linker  bool   // it needs the place of the guest's ld
	users   bool   // it looks up users and groups
	goroot  bool   // it is a tool of a Go toolchain, whose GOROOT has its defaults
}

// config is a configuration file that is packed for each guest architecture, and the variable that
// gives its name to the twin.
type config struct{ variable, text string }

// Config is the content of a guest architecture's configuration file, "" if the twins take none.
func (r *Rule) Config(abi *arch.ABI) string {
	if r.config.variable == "" {
		return ""
	}
	return strings.ReplaceAll(r.config.text, "{debian}", abi.Debian) + "\n"
}

// ConfigPath is that file's place in a set.
func (r *Rule) ConfigPath(abi *arch.ABI) string { return r.Set + "/" + abi.Debian + ".conf" }

var (
	rulesOnce sync.Once
	rulesRead []*Rule
)

// Rules are the rules of rules.txt, read at the first call.
func Rules() []*Rule {
	rulesOnce.Do(func() {
		var err error
		if rulesRead, err = parseRules(rulesText); err != nil {
			panic("rules.txt: " + err.Error()) // a test reads it
		}
	})
	return rulesRead
}

// parser holds the lines read so far.
type parser struct {
	rules []*Rule
	set   string
	speed int
	rule  *Rule
}

func parseRules(text string) ([]*Rule, error) {
	var p parser
	for n, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		if err := p.line(key, value); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	for _, r := range p.rules {
		if r.Why == "" {
			return nil, fmt.Errorf("%s: there is no why", r.Names[0])
		}
	}
	return p.rules, nil
}

// flags are the keys that stand alone.
var flags = [...]string{"users", "plugin", "linker", "order", "goroot"}

func (p *parser) line(key, value string) (err error) {
	words := strings.Fields(value)
	if len(words) == 0 && !slices.Contains(flags[:], key) {
		return fmt.Errorf("%q has no value", key)
	}
	switch key {
	case "set":
		p.set, p.rule = value, nil
		return nil
	case "twin", "never":
		p.rule = &Rule{Set: p.set, Names: words, Never: key == "never", Speed: p.speed}
		p.rules = append(p.rules, p.rule)
		return nil
	case "speed":
		p.speed, err = strconv.Atoi(value)
		return err
	}
	if p.rule == nil {
		return fmt.Errorf("%q stands outside of a block", key)
	}
	return p.rule.line(key, value, words)
}

func (r *Rule) line(key, value string, words []string) (err error) {
	switch key {
	case "why":
		r.Why = value
	case "try":
		r.Try = append(r.Try, value)
	case "guest":
		r.guest = words
	case "host":
		r.host = words
	case "package":
		r.packages = words
	case "passes":
		r.passes = words
	case "unless":
		r.unless = words
	case "unlike":
		r.unlike = words
	case "only":
		r.only = append(r.only, words...)
	case "config":
		r.config.variable, r.config.text, _ = strings.Cut(value, " ")
	case "without":
		r.without = words
	case "order":
		r.order = true
	case "bits":
		r.bits, err = strconv.Atoi(value)
	case "headers":
		r.headers = value
	case "plugin":
		r.plugin = "named"
		if value != "" {
			r.plugin = value
		}
	case "linker":
		r.linker = true
	case "users":
		r.users = true
	case "goroot":
		r.goroot = true
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

// Guests lists the paths of the program in a guest, as patterns.
func (r *Rule) guests(name string, abi *arch.ABI) []string {
	if len(r.guest) == 0 {
		return []string{"/usr/bin/" + name, "/bin/" + name}
	}
	return expandAll(r.guest, name, abi)
}

// hosts lists the paths of the twin on the host, as patterns.
func (r *Rule) hosts(name string, abi *arch.ABI) []string {
	if len(r.host) == 0 {
		return r.guests(name, abi)
	}
	return expandAll(r.host, name, abi)
}

// packageNames lists the guest's packages that may have the program.
func (r *Rule) packageNames(name, major string, abi *arch.ABI) []string {
	if len(r.packages) == 0 {
		return []string{name}
	}
	list := expandAll(r.packages, name, abi)
	for i := range list {
		list[i] = withMajor(list[i], major)
	}
	return list
}

func expandAll(patterns []string, name string, abi *arch.ABI) []string {
	list := make([]string, len(patterns))
	for i, pattern := range patterns {
		list[i] = expand(pattern, name, abi)
	}
	return list
}

// PerArch reports whether each guest architecture has a different twin.
func (r *Rule) PerArch() bool {
	return slices.ContainsFunc(r.host, func(p string) bool { return strings.Contains(p, "{triplet}") })
}

// unfit says why guests of an ABI have no twins by the rule; "" if they may.
func (r *Rule) unfit(abi *arch.ABI) string {
	switch {
	case r.bits != 0 && r.bits != abi.Class:
		return fmt.Sprintf("only where a long has %d bits", r.bits)
	case r.order && abi.Big != arch.Host().Big:
		return "only where words have the host's byte order"
	}
	return ""
}

// found is a rule for a file.
type found struct {
	rule        *Rule
	name, major string
}

// find looks for the rule for a guest's file, by its path.
func find(rules []*Rule, file string, abi *arch.ABI) (found, bool) {
	base := file[strings.LastIndexByte(file, '/')+1:]
	for _, r := range rules {
		if r.Never {
			continue
		}
		for _, name := range r.Names {
			if len(r.guest) == 0 && name != base {
				continue // the common case, without a pattern made
			}
			for _, pattern := range r.guests(name, abi) {
				if major, ok := matches(pattern, file); ok {
					return found{r, name, major}, true
				}
			}
		}
	}
	return found{}, false
}

// ByName finds the rule for a program's name; nil if there is none.
func ByName(name string) *Rule {
	for _, r := range Rules() {
		if slices.Contains(r.Names, name) {
			return r
		}
	}
	return nil
}

// Programs gives the programs that names stand for. A name is a program's, a set's, or that of a
// compiler's driver, which has no twin but starts programs that do.
func Programs(names []string) ([]string, error) {
	var list []string
	for _, name := range names {
		found := false
		for _, r := range Rules() {
			listed := slices.Contains(r.Names, name)
			switch {
			case r.Never && listed && r.passes == nil:
				return nil, fmt.Errorf("%s may have no twin: %s", name, r.Why)
			case r.Never && listed:
				list = append(list, r.passes...)
			case r.Never:
				continue
			case r.Set == name: // apt and git are both sets and programs in them
				list = append(list, r.Names...)
			case listed:
				list = append(list, name)
			default:
				continue
			}
			found = true
		}
		if !found {
			return nil, fmt.Errorf("there is no rule for %q, neither as a program nor as a set; see binproxy twin list", name)
		}
	}
	return list, nil
}
