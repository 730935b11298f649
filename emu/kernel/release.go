package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Release is a parsed kernel release, as a person or uname names it.
type Release struct {
	Text   string  // as it was written
	Base   Version // the mainline release, or the one that the vendor built on
	Older  bool    // it is older than the oldest of the tables, which stands for it
	Newer  bool    // it is newer than the newest of the tables, which stands for it
	Distro *Distro // if a distribution was named
	vendor string  // whose profiles count: "el", "ubuntu" or ""
	build  int     // the vendor's build number
}

// maxRelease is the longest release in bytes; struct utsname has room for no more.
const maxRelease = 64

// Parse reads a release as people write it: a version (3.10, v6.1.5), the text of uname -r
// (3.10.0-1160.71.1.el7.x86_64), or a release of a distribution (el7, rhel8.4, alma9,
// ubuntu-22.04, debian:12, bookworm). A distribution without a minor version means its newest.
func Parse(text string) (Release, error) {
	t := strings.ToLower(strings.TrimSpace(text))
	if t == "" || len(t) > maxRelease || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return Release{}, fmt.Errorf("%q is no kernel release: 1 to %d printable characters without a space", text, maxRelease)
	}
	if v := strings.TrimPrefix(t, "v"); isDigit(v[:min(1, len(v))]) {
		return parseUname(v)
	}
	return parseDistro(t)
}

func isDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// parseUname reads VERSION[SUFFIX].
func parseUname(t string) (Release, error) {
	r := Release{Text: t}
	numbers, suffix := leadingNumbers(t)
	if err := r.setBase(numbers); err != nil {
		return Release{}, fmt.Errorf("kernel release %q: %w", t, err)
	}
	build, rest, dashed := cutBuild(suffix)
	switch {
	case !dashed:
	case strings.Contains(rest, ".el") || rest == "" && isRHELBuild(t):
		r.vendor, r.build = "el", build
	case strings.HasSuffix(rest, "-generic"), strings.HasSuffix(rest, "-lowlatency"):
		r.vendor, r.build = "ubuntu", build
	}
	return r, nil
}

// leadingNumbers splits 3.10.0-1160.el7 into [3 10 0] and -1160.el7.
func leadingNumbers(t string) (numbers []int, rest string) {
	for len(numbers) < 4 {
		n := 0
		for n < len(t) && isDigit(t[n:n+1]) {
			n++
		}
		value, err := strconv.Atoi(t[:n])
		if err != nil {
			return numbers, t
		}
		numbers, t = append(numbers, value), t[n:]
		if len(t) < 2 || t[0] != '.' || !isDigit(t[1:2]) {
			break
		}
		t = t[1:]
	}
	return numbers, t
}

// cutBuild splits -1160.71.1.el7 into 1160 and .71.1.el7.
func cutBuild(suffix string) (build int, rest string, ok bool) {
	digits, ok := strings.CutPrefix(suffix, "-")
	if !ok {
		return 0, suffix, false
	}
	n := 0
	for n < len(digits) && isDigit(digits[n:n+1]) {
		n++
	}
	build, err := strconv.Atoi(digits[:n])
	return build, digits[n:], err == nil
}

func isRHELBuild(t string) bool {
	return slices.ContainsFunc(tables().distros, func(d Distro) bool { return d.Name == "rhel" && d.Build == t })
}

// setBase finds the mainline release of a version.
func (r *Release) setBase(numbers []int) error {
	if len(numbers) < 2 {
		return fmt.Errorf("it takes at least two numbers, as in 3.10")
	}
	series, err := numbersOf(numbers)
	if err != nil {
		return err
	}
	releases := tables().releases
	oldest, _ := leadingNumbers(releases[0].name)
	newest, _ := leadingNumbers(releases[Newest()].name)
	switch {
	case slices.Compare(series, oldest) < 0:
		r.Base, r.Older = 0, true
		return nil
	case slices.Compare(series, newest) > 0:
		r.Base, r.Newer = Newest(), true
		return nil
	}
	for i := range releases {
		if name, _ := leadingNumbers(releases[i].name); slices.Equal(name, series) {
			r.Base = Version(i)
			return nil
		}
	}
	return fmt.Errorf("there was no such mainline release")
}

// numbersOf takes the numbers that name a series: three of 2.6.32.71, two of 3.10.105.
func numbersOf(numbers []int) ([]int, error) {
	if numbers[0] > 2 {
		return numbers[:2], nil
	}
	if len(numbers) < 3 && numbers[0] == 2 && numbers[1] == 6 {
		return nil, fmt.Errorf("2.6 takes a third number, as in 2.6.32")
	}
	return numbers[:min(3, len(numbers))], nil
}

// families are people's names for the distributions of the facts, the longest first.
var families = [...][2]string{
	{"opensuse-leap", "sles"}, {"centos-stream", "rhel"}, {"oraclelinux", "rhel"}, {"amazonlinux", "amazon"}, {"rockylinux", "rhel"},
	{"almalinux", "rhel"}, {"android", "android-common"}, {"amazon", "amazon"}, {"alpine", "alpine"}, {"centos", "rhel"},
	{"debian", "debian"}, {"oracle", "rhel"}, {"redhat", "rhel"}, {"ubuntu", "ubuntu"}, {"rocky", "rhel"}, {"alma", "rhel"},
	{"amzn", "amazon"}, {"leap", "sles"}, {"rhel", "rhel"}, {"sles", "sles"}, {"sle", "sles"}, {"ubi", "rhel"}, {"al", "amazon"},
	{"el", "rhel"}, {"ol", "rhel"},
}

// codenames are releases that people name by a word.
var codenames = [...][3]string{
	{"wheezy", "debian", "7"}, {"jessie", "debian", "8"}, {"stretch", "debian", "9"}, {"buster", "debian", "10"},
	{"bullseye", "debian", "11"}, {"bookworm", "debian", "12"}, {"trixie", "debian", "13"},
	{"precise", "ubuntu", "12.04"}, {"trusty", "ubuntu", "14.04"}, {"xenial", "ubuntu", "16.04"}, {"bionic", "ubuntu", "18.04"},
	{"focal", "ubuntu", "20.04"}, {"jammy", "ubuntu", "22.04"}, {"noble", "ubuntu", "24.04"},
}

func parseDistro(t string) (Release, error) {
	for _, c := range codenames {
		if t == c[0] {
			return ofDistro(t, c[1], c[2])
		}
	}
	for _, f := range families {
		if rest, ok := strings.CutPrefix(t, f[0]); ok {
			version := strings.TrimLeft(rest, "-:/_")
			version = strings.NewReplacer("-sp", ".", "sp", ".").Replace(version)
			if isDigit(version[:min(1, len(version))]) {
				return ofDistro(t, f[1], version)
			}
		}
	}
	return Release{}, fmt.Errorf("kernel release %q: not a version (3.10), nor what uname -r says, nor a release of a distribution that is known (el7, rhel8.4, ubuntu-22.04, debian-12, alpine-3.19, amzn2, sles-15.4)", t)
}

// ofDistro finds the distribution's release: the newest one that matches.
func ofDistro(text, name, version string) (Release, error) {
	var found *Distro
	var versions []string
	distros := tables().distros
	for i := range distros {
		d := &distros[i]
		if d.Name != name {
			continue
		}
		versions = append(versions, d.Version)
		if d.Version == version || strings.HasPrefix(d.Version, version+".") && name != "ubuntu" {
			found = d
		}
	}
	if found == nil {
		return Release{}, fmt.Errorf("kernel release %q: of %s these are known: %s", text, name, strings.Join(slices.Compact(versions), " "))
	}
	r := Release{Text: text, Base: found.Kernel, Distro: found}
	if build, _, ok := strings.Cut(found.Build, "-"); ok {
		r.vendor = "el"
		r.build, _ = strconv.Atoi(strings.TrimPrefix(found.Build, build+"-"))
	}
	return r, nil
}

// Uname is the release that uname -r would print on a machine: the text if that was a whole
// release, else the best known one (el7: 3.10.0-1160.el7.x86_64).
func (r Release) Uname(machine string) string {
	if r.Distro == nil {
		if numbers, rest := leadingNumbers(r.Text); rest == "" && len(numbers) == 2 {
			return r.Text + ".0"
		}
		return r.Text
	}
	build := r.Distro.Build
	if build == "" {
		build = r.Base.String()
	}
	if numbers, rest := leadingNumbers(build); rest == "" && len(numbers) == 2 {
		build += ".0"
	}
	if r.vendor == "el" {
		major, _, _ := strings.Cut(r.Distro.Version, ".")
		build += ".el" + major + "." + machine
	}
	return build
}

// Profile names the vendor profile that counts for an ABI, and its source; "" if only mainline's
// table counts.
func (r Release) Profile(a *ABI) (name, evidence string) {
	if p := r.profileFor(a.Name); p != nil {
		return p.name, p.evidence
	}
	return "", ""
}

// Describe gives the release as it was understood, in one line.
func (r Release) Describe(a *ABI) string {
	s := "mainline " + r.Base.String()
	if name, _ := r.Profile(a); name != "" {
		s += " with the backports of " + name
	}
	if r.Distro != nil {
		s += fmt.Sprintf(" (%s %s", r.Distro.Name, r.Distro.Version)
		if r.Distro.Build != "" {
			s += ", " + r.Distro.Build
		}
		s += ")"
	}
	switch {
	case r.Older:
		s += ", which stands in for an older one"
	case r.Newer:
		s += ", which stands in for a newer one"
	}
	return s
}

// Numbers is the version that a program reads from uname: three numbers, 0 for a missing one.
func (r Release) Numbers() [3]int {
	var three [3]int
	numbers, _ := leadingNumbers(r.Uname(""))
	copy(three[:], numbers)
	return three
}
