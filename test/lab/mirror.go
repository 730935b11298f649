package lab

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// Mirror is the Debian mirror that the machine's own apt uses; "" where it uses none (an Ubuntu), for debootstrap's default. The environment
// variable BINPROXY_MIRROR overrides it. apt itself reads its configuration, in whichever form it is written.
func Mirror(ctx context.Context) (string, error) {
	if mirror := os.Getenv("BINPROXY_MIRROR"); mirror != "" {
		return mirror, nil
	}
	listed := func(format string, filters ...string) (string, error) {
		return output(exec.CommandContext(ctx, "apt-get", append([]string{"indextargets", "--format", format, "Created-By: Packages"}, filters...)...))
	}
	sites, err := listed("$(SITE)", "Origin: Debian", "Label: Debian", "Component: main")
	if err != nil {
		return "", err
	}
	if sites == "" {
		// Origin and label are known only after apt-get update. The security archive has no base system.
		if sites, err = listed("$(SITE) $(RELEASE) $(SIGNED_BY)", "Component: main"); err != nil {
			return "", err
		}
		sites = debianSites(sites)
	}
	site, _, _ := strings.Cut(sites, "\n")
	return direct(site)
}

// debianSites keeps the sites of lines "SITE SUITE KEYRING" that are Debian's, by the keyring or the last part of the path.
func debianSites(lines string) string {
	var sites strings.Builder
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasSuffix(f[1], "-security") {
			continue
		}
		keyring := strings.Join(f[2:], " ")
		if strings.Contains(keyring, "debian-archive") || strings.HasSuffix(strings.TrimSuffix(f[0], "/"), "/debian") {
			sites.WriteString(f[0] + "\n")
		}
	}
	return sites.String()
}

// direct resolves apt's mirror+file:LIST to the first address in LIST; debootstrap knows only plain addresses.
func direct(site string) (string, error) {
	list, ok := strings.CutPrefix(site, "mirror+file:")
	if !ok {
		return site, nil
	}
	f, err := os.Open(list)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		address, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), "\t")
		if u, err := url.Parse(address); err == nil && u.Scheme != "" {
			return address, nil
		}
	}
	return "", fmt.Errorf("%s names no mirror; set BINPROXY_MIRROR to one", list)
}
