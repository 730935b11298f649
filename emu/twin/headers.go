package twin

import (
	"slices"
	"strings"
)

// A cross compiler's pass has other directories of headers built in than the guest's own. Of its
// own only the last two exist in the guest, /usr/include/TRIPLET and /usr/include; -iprefix
// replaces those of the compiler. What the guest's compiler has before them is named, in its order
// (gcc/cppdefault.cc): the libraries of C++, the compiler's own, /usr/local/include.
//
// The variable that names directories to compilers does that: its own are behind those of options,
// where the built-in ones are. And they are marked as the built-in ones of C++ and
// /usr/local/include are ("3" in -E's line marks), though not as the compiler's own ("3 4"). So
// that is -isystem's, which is marked the same, where nothing has to be before it.

// headers makes a cross compiler's pass look for headers where the guest's own does, in the same
// order. It says why the twin would write other line marks.
func (v *Verdict) headers(c Call, e *Edit) string {
	e.Last = []string{"-iprefix", v.dir + "/"}
	if slices.Contains(c.Args, "-nostdinc") {
		return ""
	}
	variable, own := "C_INCLUDE_PATH", v.dir+"/include"
	var dirs []string
	if v.Rule.headers == "c++" {
		variable = "CPLUS_INCLUDE_PATH"
		if !slices.Contains(c.Args, "-nostdinc++") {
			base := "/usr/include/c++/" + v.major
			dirs = []string{base, "/usr/include/" + triplet(v.abi) + "/c++/" + v.major, base + "/backward"}
		}
	}
	if given := value(c.Env, variable); given != "" {
		dirs = append([]string{given}, dirs...)
	}
	if dirs == nil {
		e.Last = append([]string{"-isystem", own}, e.Last...)
	} else if marks(c.Args) {
		return "called with -E: it would mark the compiler's headers differently"
	} else {
		dirs = append(dirs, own)
	}
	const local = "/usr/local/include"
	if i := slices.Index(c.Args, "-imultiarch"); i >= 0 && i+1 < len(c.Args) {
		dirs = append(dirs, local+"/"+c.Args[i+1])
	}
	e.Env = append(e.Env, variable+"="+strings.Join(append(dirs, local), ":"))
	return ""
}

// marks reports whether a compiler's pass writes line marks: preprocessed text.
func marks(args []string) bool {
	return slices.Contains(args, "-E") &&
		!slices.ContainsFunc(args, func(arg string) bool { return arg == "-P" || arg == "-M" || arg == "-MM" || arg == "-dM" })
}

// value is that of a variable in the environment, "" for none.
func value(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
