package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"

	"binproxy/test/lib/need"
)

func TestVersion(t *testing.T) {
	for said, want := range map[string]version{
		"v1.2.3":                   {"1.2.3", "1.2.3", "1.2.3"},
		"0.1":                      {"0.1", "0.1", "0.1"},
		"v1.2.3-rc1":               {"1.2.3-rc1", "1.2.3~rc1", "1.2.3_rc1"},
		"v1.2.3-4-gabcdef0":        {"1.2.3-4-gabcdef0", "1.2.3+4.gabcdef0", "1.2.3_p4"},
		"v1.2.3-rc.1-4-gabc-dirty": {"1.2.3-rc.1-4-gabc-dirty", "1.2.3~rc1+4.gabc+dirty", "1.2.3_rc1_p4"},
		"1234567":                  {"1234567", "0+1234567", "0"},
		"ba39069-dirty":            {"ba39069-dirty", "0+ba39069.dirty", "0"},
	} {
		assert.Equal(t, want, parse(said), said)
	}
}

// dpkg agrees with the order.
func TestVersionsAreOrdered(t *testing.T) {
	dpkg := need.Program(t, "dpkg", "dpkg")
	order := []string{"ba39069", "v0.1.0-rc1", "v0.1.0-rc1-3-gabc", "v0.1.0-rc2", "v0.1.0", "v0.1.0-2-gfff", "v0.1.0-10-gaaa", "v0.1.1"}
	for i, later := range order[1:] {
		assert.NoError(t, exec.Command(dpkg, "--compare-versions", parse(order[i]).deb, "lt", parse(later).deb).Run(), later)
	}
}
