package apt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Keyring has the keys of all of Debian's suites (package debian-archive-keyring, which apt
// depends on in Debian).
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Repository is Debian's, for Packages and Sources.
func Repository(ctx context.Context) (string, error) {
	mirror, err := Mirror(ctx)
	if err != nil {
		return "", err
	}
	if mirror == "" {
		return "", errors.New("the machine's apt names no Debian mirror; BINPROXY_MIRROR=URL names one")
	}
	if _, err := os.Stat(Keyring); err != nil {
		return "", fmt.Errorf("the keys of Debian's archive (package debian-archive-keyring): %w", err)
	}
	return "[signed-by=" + Keyring + "] " + mirror, nil
}

// Mirror is the Debian mirror that BINPROXY_MIRROR names, else the one that the machine's own apt
// uses; "" where it uses none (an Ubuntu). apt itself reads its configuration, in any of its
// forms.
func Mirror(ctx context.Context) (string, error) {
	if mirror := os.Getenv("BINPROXY_MIRROR"); mirror != "" {
		return mirror, nil
	}
	listed := func(format string, filters ...string) (string, error) {
		var out strings.Builder
		_, err := Get{}.call(ctx, &out, "apt-get", append([]string{"indextargets", "--no-release-info", "--format", format, "Created-By: Packages"}, filters...)...)
		return out.String(), err
	}
	sites, err := listed("$(SITE)", "Origin: Debian", "Label: Debian", "Component: main")
	if err != nil {
		return "", err
	}
	if sites == "" {
		// Origin and label are known only after apt-get update.
		if sites, err = listed("$(SITE) $(RELEASE)", "Component: main"); err != nil {
			return "", err
		}
		sites = debianSites(sites)
	}
	site, _, _ := strings.Cut(sites, "\n")
	return direct(site)
}

// debianSites keeps those sites of lines "SITE SUITE" that are Debian's, by the last part of the
// path or as a list of mirrors. It drops the security archive, which has no base system.
func debianSites(lines string) string {
	var sites strings.Builder
	for line := range strings.Lines(lines) {
		site, suite, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (isDebian(site) || strings.HasPrefix(site, mirrorList)) && !strings.HasSuffix(suite, "-security") {
			sites.WriteString(site + "\n")
		}
	}
	return sites.String()
}

func isDebian(site string) bool { return strings.HasSuffix(strings.TrimSuffix(site, "/"), "/debian") }

// mirrorList is how apt names a file that lists mirrors.
const mirrorList = "mirror+file:"

// direct resolves apt's mirror+file:LIST to the first Debian mirror in LIST, "" where it has none;
// debootstrap knows only plain addresses.
func direct(site string) (string, error) {
	list, ok := strings.CutPrefix(site, mirrorList)
	if !ok {
		return site, nil
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && isDebian(f[0]) && f[0][0] != '#' {
			return f[0], nil
		}
	}
	return "", nil
}
