package twin

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
)

// Each rule can be applied, gives its reason, and has something to try.
func TestRules(t *testing.T) {
	rules, err := parseRules(rulesText)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, r := range rules {
		assert.NotEmpty(t, r.Why, r.Names)
		for _, name := range r.Names {
			assert.False(t, seen[name], "%s: two rules", name)
			seen[name] = true
		}
		if r.Never {
			continue
		}
		assert.NotEmpty(t, r.Try, "%s: nothing to try", r.Names)
		assert.Positive(t, r.Speed, r.Names)
		assert.NotEmpty(t, r.Set, r.Names)
	}
	for _, name := range []string{"uname", "perl", "gcc", "bash", "dpkg", "ldconfig", "rpm", "arch", "python3", "make"} {
		require.NotNil(t, ByName(name), name)
		assert.True(t, ByName(name).Never, name)
	}
}

// A name stands for a program, a set, or the passes that a compiler's driver starts.
func TestPrograms(t *testing.T) {
	for _, c := range []struct{ names, want, complaint string }{
		{"sed tar", "sed tar", ""}, {"git", "git", ""}, {"compressors sed", "gzip bzip2 xz zstd sed", ""}, {"g++", "cc1 cc1plus lto1 lto-wrapper collect2", ""},
		{"go", "go-compile go-asm go-link go-cgo go-vet go-pack go-buildid go-cover go-covdata", ""},
		{"apt", "apt apt-get apt-cache apt-config apt-mark store copy file rred", ""}, {"apt-get", "apt-get", ""},
		{"", "", ""}, {"sed bash", "", "bash may have no twin: HOSTTYPE"}, {"dpkg", "", "dpkg may have no twin: the architecture"}, {"sedd", "", `there is no rule for "sedd"`},
	} {
		got, err := Programs(strings.Fields(c.names))
		assert.Equal(t, c.want, strings.Join(got, " "))
		if c.complaint == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, c.complaint)
		}
	}
}

func TestRulesErrors(t *testing.T) {
	for text, complaint := range map[string]string{
		"why nothing\n":               "outside of a block",
		"twin a\nfoo b\n":             `unknown key "foo"`,
		"twin\n":                      "has no value",
		"twin a\n":                    "there is no why",
		"set x\nspeed fast\n":         "invalid syntax",
		"twin a\nwhy x\nbits 64bit\n": "invalid syntax",
	} {
		_, err := parseRules(text)
		assert.ErrorContains(t, err, complaint, text)
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct{ path, abi, want string }{
		{"/usr/lib/gcc/aarch64-linux-gnu/12/cc1", "arm64", "cc1 12"},
		{"/usr/libexec/gcc/aarch64-linux-gnu/14/cc1plus", "arm64", "cc1plus 14"},
		{"/usr/lib/gcc/arm-linux-gnueabihf/12/cc1", "armhf", "cc1 12"},
		{"/usr/lib/gcc/i686-linux-gnu/12/cc1", "i386", "cc1 12"},
		{"/usr/lib/gcc/arm-linux-gnueabihf/12/cc1", "arm64", ""}, // a cross compiler in the guest
		{"/usr/lib/gcc/aarch64-linux-gnu/12x/cc1", "arm64", ""},
		{"/usr/lib/gcc/aarch64-linux-gnu//cc1", "arm64", ""},
		{"/usr/bin/aarch64-linux-gnu-as", "arm64", "as "},
		{"/usr/bin/aarch64-linux-gnu-ld.bfd", "arm64", "ld.bfd "},
		{"/usr/bin/sed", "arm64", "sed "},
		{"/bin/sed", "arm64", "sed "},
		{"/usr/local/bin/sed", "arm64", ""},
		{"/opt/sed", "arm64", ""},
		{"/usr/bin/[", "arm64", "[ "},
		{"/usr/bin/perl", "arm64", ""},
		{"/usr/bin/uname", "arm64", ""},
		{"/usr/lib/gcc/aarch64-linux-gnu/4.9/cc1", "arm64", "cc1 4.9"},
		{"/usr/lib/go-1.19/pkg/tool/linux_arm64/link", "arm64", "go-link 1.19"},
		{"/usr/lib/go-1.19/pkg/tool/linux_arm/link", "armel", "go-link 1.19"},
		{"/usr/lib/go-1.19/pkg/tool/linux_amd64/link", "arm64", ""}, // another machine's
		{"/usr/local/go/pkg/tool/linux_arm64/vet", "arm64", "go-vet "},
		{"/root/go/pkg/mod/golang.org/toolchain@v0.0.1-go1.22.5.linux-arm64/pkg/tool/linux_arm64/asm", "arm64", "go-asm "},
		{"/usr/lib/golang/pkg/tool/linux_arm64/vet", "arm64", ""}, // a distribution's
		{"/usr/local/go/bin/go", "arm64", ""},
		{"/pkg/tool/linux_arm64/compile", "arm64", "go-compile "},
	} {
		f, ok := find(Rules(), c.path, arch.Get(mustParse(t, c.abi).Name))
		got := ""
		if ok {
			got = f.name + " " + f.major
		}
		assert.Equal(t, c.want, got, c.path)
	}
}

func mustParse(t *testing.T, name string) *arch.ABI {
	t.Helper()
	abi, err := arch.Parse(name)
	require.NoError(t, err)
	return abi
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, arg string
		want         bool
	}{
		{"-version", "-version", true}, {"-version", "-versions", false}, {"-fplugin=*", "-fplugin=x.so", true}, {"-fplugin=*", "-fplug", false},
		{"-*T", "-9T2", true}, {"-*T", "-T0", true}, {"-*T", "--T", false}, {"-*T", "T", false}, {"-*T", "-9", false}, {"@*", "@file", true},
	} {
		assert.Equal(t, c.want, fits(c.pattern, c.arg), "%s %s", c.pattern, c.arg)
	}
}

// verdict is the verdict on a program that has its twin.
func verdict(t *testing.T, name, dir, major string) *Verdict {
	t.Helper()
	r := ByName(name)
	require.NotNil(t, r)
	set := &Set{Files: []File{{Path: "aarch64/12/" + PluginName}, {Path: "armhf/12/" + PluginName}, {Path: "apt/arm64.conf"}}}
	return &Verdict{Rule: r, Name: name, set: set, abi: arch.Get("aarch64"), dir: dir, major: major}
}

func TestFit(t *testing.T) {
	gcc := "/usr/lib/gcc/aarch64-linux-gnu/12"
	there := func(string, string) string { return "/usr/bin" }
	nowhere := func(string, string) string { return "" }
	for _, c := range []struct {
		name, program string
		args, env     []string
		find          func(path, name string) string
		want          Edit
		why           string
	}{
		{name: "headers", program: "cc1", args: []string{"-quiet", "x.c"}, want: Edit{Last: []string{"-isystem", gcc + "/include", "-iprefix", gcc + "/"}, Env: []string{"C_INCLUDE_PATH=/usr/local/include"}}},
		{name: "headers by ABI", program: "cc1", args: []string{"-imultiarch", "t", "-E", "x.c"}, want: Edit{Last: []string{"-isystem", gcc + "/include", "-iprefix", gcc + "/"}, Env: []string{"C_INCLUDE_PATH=/usr/local/include/t:/usr/local/include"}}},
		{name: "headers named", program: "cc1", args: []string{"x.c"}, env: []string{"C_INCLUDE_PATH=x:"}, want: Edit{Last: []string{"-iprefix", gcc + "/"}, Env: []string{"C_INCLUDE_PATH=x::" + gcc + "/include:/usr/local/include"}}},
		{name: "headers named and marked", program: "cc1", args: []string{"-E", "x.c"}, env: []string{"C_INCLUDE_PATH=x"}, why: "called with -E: it would mark the compiler's headers differently"},
		{name: "no headers", program: "cc1", args: []string{"-nostdinc", "x.c"}, env: []string{"C_INCLUDE_PATH=x"}, want: Edit{Last: []string{"-iprefix", gcc + "/"}}},
		{name: "headers of C++", program: "cc1plus", env: []string{"C_INCLUDE_PATH=x"}, want: Edit{Last: []string{"-iprefix", gcc + "/"},
			Env: []string{"CPLUS_INCLUDE_PATH=/usr/include/c++/12:/usr/include/aarch64-linux-gnu/c++/12:/usr/include/c++/12/backward:" + gcc + "/include:/usr/local/include"}}},
		{name: "headers of C++ listed", program: "cc1plus", args: []string{"-E", "-MM", "-nostdinc++"}, env: []string{"CPLUS_INCLUDE_PATH=y"}, want: Edit{Last: []string{"-iprefix", gcc + "/"},
			Env: []string{"CPLUS_INCLUDE_PATH=y:" + gcc + "/include:/usr/local/include"}}},
		{name: "headers of C++ marked", program: "cc1plus", args: []string{"-E"}, why: "called with -E: it would mark the compiler's headers differently"},
		{name: "no headers of C++", program: "cc1plus", args: []string{"-nostdinc++"}, want: Edit{Last: []string{"-isystem", gcc + "/include", "-iprefix", gcc + "/"}, Env: []string{"CPLUS_INCLUDE_PATH=/usr/local/include"}}},
		{name: "a plug-in for the compiler", program: "cc1", args: []string{"-fplugin=/x.so"}, why: "called with -fplugin=/x.so"},
		{name: "the linker's plug-in", program: "ld.bfd", args: []string{"-plugin", gcc + "/" + PluginName, "x.o"}, want: Edit{Replace: map[int]string{1: "/twins/aarch64/12/" + PluginName}}},
		{name: "joined", program: "ld.bfd", args: []string{"--plugin=/x/" + PluginName}, want: Edit{Replace: map[int]string{0: "--plugin=/twins/aarch64/12/" + PluginName}}},
		{name: "another plug-in", program: "ld.bfd", args: []string{"-plugin", "/usr/lib/LLVMgold.so"}, why: "called with the plug-in /usr/lib/LLVMgold.so"},
		{name: "a plug-in that is missing", program: "ld.bfd", args: []string{"-plugin"}, why: "-plugin has no value"},
		{name: "ar", program: "ar", args: []string{"rcs", "x.a"}, want: Edit{First: []string{"--plugin", "/twins/aarch64/12/" + PluginName}}},
		{name: "gcc-ar", program: "ar", args: []string{"--plugin", "/y/" + PluginName, "rcs"}, want: Edit{Replace: map[int]string{1: "/twins/aarch64/12/" + PluginName}}},
		{name: "a response file", program: "ld.bfd", args: []string{"@/tmp/x"}, why: "called with @/tmp/x"},
		{name: "a variable", program: "ld.bfd", env: []string{"LD_RUN_PATH=/x"}, why: "LD_RUN_PATH is set"},
		{name: "the locale", program: "sed", env: []string{"LANG=C.UTF-8", "LC_ALL="}},
		{name: "a locale", program: "sed", env: []string{"LC_CTYPE=de_DE"}, why: "LC_CTYPE=de_DE: a locale's data may be of another version"},
		{name: "a prefix", program: "sed", env: []string{"QEMU_LD_PREFIX=/x"}, why: "QEMU_LD_PREFIX is set"},
		{name: "ld", program: "collect2", find: there, want: Edit{Env: []string{"COMPILER_PATH=/usr/bin"}}},
		{name: "ld behind", program: "collect2", env: []string{"COMPILER_PATH=/x/:/y"}, find: there, want: Edit{Env: []string{"COMPILER_PATH=/x/:/y:/usr/bin"}}},
		{name: "no ld", program: "collect2", find: nowhere, why: "there is no ld in PATH"},
		{name: "threads", program: "xz", args: []string{"-9T0"}, why: "called with -9T0"},
		{name: "configuration", program: "apt-get", args: []string{"-y", "install", "x"}, want: Edit{Env: []string{"APT_CONFIG=/twins/apt/arm64.conf"}}},
		{name: "configured", program: "apt-config", args: []string{"dump"}, env: []string{"APT_CONFIG=/twins/apt/arm64.conf"}, want: Edit{Env: []string{"APT_CONFIG=/twins/apt/arm64.conf"}}},
		{name: "another configuration", program: "apt-get", args: []string{"update"}, env: []string{"APT_CONFIG=/x"}, why: "APT_CONFIG is set"},
		{name: "no command", program: "apt-get", args: []string{"-y"}, why: "called with no command that the rule names"},
		{name: "help that names the architecture", program: "apt-get", args: []string{"update", "-yh"}, why: "called with -yh"},
		{name: "long double", program: "sort", args: []string{"-rg"}, why: "called with -rg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verdict(t, c.program, gcc, "12")
			if c.program == "ar" {
				v.major = ""
			}
			got, why := v.Fit(Call{Args: c.args, Env: c.env, Dir: "/twins", Find: c.find})
			assert.Equal(t, c.why, why)
			if why == "" {
				assert.Equal(t, c.want, got)
			}
		})
	}
}

// An argument that only compilers of guests with other words treat differently is refused only
// there.
func TestFitUnlike(t *testing.T) {
	v := verdict(t, "cc1", "/usr/lib/gcc/x/12", "12")
	_, why := v.Fit(Call{Args: []string{"-flto"}})
	assert.Empty(t, why)
	for _, name := range []string{"armhf", "s390x", "mips"} {
		v.abi = arch.Get(name)
		_, why = v.Fit(Call{Args: []string{"-flto"}})
		assert.Equal(t, "called with -flto", why, name)
		_, why = v.Fit(Call{Args: []string{"-O2"}})
		assert.Empty(t, why, name)
	}
}

// If the set has no configuration for a guest's architecture, there is no twin: it would take the
// host's.
func TestFitUnconfigured(t *testing.T) {
	v := verdict(t, "apt-get", "/usr/bin", "")
	v.abi = arch.Get("s390x")
	_, why := v.Fit(Call{Args: []string{"update"}, Dir: "/twins"})
	assert.Equal(t, "/twins/apt/s390x.conf is not packed", why)
	assert.Equal(t, "APT::Architecture \"s390x\";\n", v.Rule.Config(v.abi))
}

// A program that writes words in the machine's order is refused for guests with another byte
// order.
func TestOrder(t *testing.T) {
	m := NewMatcher(&Set{Vendor: "debian", Database: packages.Dpkg}, nil)
	for name, want := range map[string]string{"aarch64": "no twin of it is packed", "s390x": "only where words have the host's byte order"} {
		v := &Verdict{Rule: ByName("cpio"), Name: "cpio", facts: &facts{vendor: "debian"}}
		_, why := m.choose(v, Guest{ABI: arch.Get(name)})
		assert.Equal(t, want, why, name)
	}
}

func FuzzRules(f *testing.F) {
	f.Add(rulesText)
	f.Add("set x\ntwin a b\nwhy c\nplugin first\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseRules(text)
		if err != nil {
			return
		}
		for _, r := range rules {
			for _, name := range r.Names {
				for _, abi := range arch.All()[:3] {
					r.OnHost(strings.ReplaceAll(name, "/", ""), abi)
				}
			}
		}
		_, _ = find(rules, "/usr/bin/a", arch.Get("aarch64"))
	})
}

func FuzzManifest(f *testing.F) {
	f.Add("binproxy-twins 1\nhost x86_64\nvendor debian\ndatabase dpkg\nkernel 3.2.0\nloader lib/ld.so\nfile lib/libc.so.6 libc6 2.36-9 5 ab\ntwin cc1 aarch64 12 a/12/cc1 cpp-12 12.2.0-14 7 cd\ntwin sed any - any/sed sed 4.9-1 1 00\n")
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Set
		if s.parse(text) != nil {
			return
		}
		require.NoError(t, again.parse(string(s.Marshal())))
		assert.Equal(t, s.Marshal(), again.Marshal())
	})
}

func TestManifest(t *testing.T) {
	s := &Set{Host: "x86_64", Vendor: "debian", Database: packages.Dpkg, Kernel: "3.2.0", Loader: "lib/ld.so",
		Files: []File{{"lib/libc.so.6", "libc6", "2.36-9", 5, "ab"}},
		Twins: []Twin{{"cc1", "aarch64", "12", File{"aarch64/12/cc1", "cpp-12", "12.2.0-14", 7, "cd"}}, {"sed", AnyABI, "", File{"any/sed", "sed", "4.9-1", 1, "00"}}}}
	var again Set
	require.NoError(t, again.parse(string(s.Marshal())))
	assert.Equal(t, *s, again)
	assert.Equal(t, "cc1", s.twin("cc1", "aarch64", "12").Name)
	assert.Nil(t, s.twin("cc1", "aarch64", "11"))
	assert.Nil(t, s.twin("cc1", "armhf", "12"))
	assert.Equal(t, "sed", s.twin("sed", "armhf", "").Name)
	for _, line := range []string{"loader ../x", "loader /x", "file a b c d", "file ../a b c 1 d", "twin a b", "twin a b - c d e x f", "what is this", "host"} {
		var s Set
		assert.Error(t, s.parse("binproxy-twins 1\n"+line+"\n"), line)
	}
	assert.Error(t, new(Set).parse("binproxy-twins 2\n"))
	assert.True(t, slices.Contains(ByName("sed").Names, "sed"))
}
