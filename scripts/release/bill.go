package main

import (
	"binproxy/emu/bundle"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The parts of an SPDX 2.3 document that we write.
type (
	document struct {
		SPDXVersion       string         `json:"spdxVersion"`
		DataLicense       string         `json:"dataLicense"`
		SPDXID            string         `json:"SPDXID"`
		Name              string         `json:"name"`
		DocumentNamespace string         `json:"documentNamespace"`
		CreationInfo      creation       `json:"creationInfo"`
		Packages          []part         `json:"packages"`
		Relationships     []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	part struct {
		SPDXID           string      `json:"SPDXID"`
		Name             string      `json:"name"`
		VersionInfo      string      `json:"versionInfo"`
		DownloadLocation string      `json:"downloadLocation"`
		FilesAnalyzed    bool        `json:"filesAnalyzed"`
		LicenseConcluded string      `json:"licenseConcluded"`
		LicenseDeclared  string      `json:"licenseDeclared"`
		CopyrightText    string      `json:"copyrightText"`
		ExternalRefs     []reference `json:"externalRefs,omitempty"`
		Comment          string      `json:"comment,omitempty"`
	}
	reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const noAssertion = "NOASSERTION"

// bill writes the bill of materials: the programs, the modules that they are linked from, and the
// emulators that the images and the plugs contain.
func (r release) bill(ctx context.Context) error {
	created, err := bundle.Timestamp()
	if err != nil {
		return err
	}
	d := document{SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: "binproxy-" + r.version.name,
		CreationInfo: creation{created.Format("2006-01-02T15:04:05Z"), []string{"Tool: binproxy-scripts-release"}}}
	linked, err := r.linked()
	if err != nil {
		return err
	}
	for _, program := range []string{"binproxy", "binproxy-dockerfile"} {
		id := d.add(part{Name: program, VersionInfo: r.version.name, LicenseConcluded: "BSD-3-Clause", LicenseDeclared: "BSD-3-Clause"}, "SPDXRef-DOCUMENT", "DESCRIBES")
		for _, m := range linked[program] {
			d.add(ofModule(m), id, "STATIC_LINK")
		}
	}
	for _, arch := range r.hosts {
		h, err := r.host(ctx, arch)
		if err != nil {
			return err
		}
		from, err := h.Origin(ctx)
		if err != nil {
			return err
		}
		d.add(part{Name: from.Package, VersionInfo: from.Version, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion,
			Comment:      "in the images and plugs for " + arch + " hosts; built from Debian's source package " + from.Source + " " + from.Of,
			ExternalRefs: []reference{{"PACKAGE-MANAGER", "purl", "pkg:deb/debian/" + from.Package + "@" + from.Version + "?arch=" + arch}}},
			"SPDXRef-DOCUMENT", "DESCRIBES")
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	// A name of the document that no other has: SPDX wants a URI, which need not lead anywhere.
	d.DocumentNamespace = fmt.Sprintf("https://spdx.org/spdxdocs/binproxy-%s-%x", r.version.name, sha1.Sum(text))
	if text, err = json.MarshalIndent(d, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "binproxy-"+r.version.name+".spdx.json"), append(text, '\n'), 0o644)
}

// add adds a package, unless an equal one is there, and how another element is related to it.
func (d *document) add(p part, element, how string) (id string) {
	p.SPDXID = "SPDXRef-" + regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(p.Name+"-"+p.VersionInfo+"-"+p.locator(), "-")
	p.DownloadLocation, p.CopyrightText = noAssertion, noAssertion
	if !slices.ContainsFunc(d.Packages, func(there part) bool { return there.SPDXID == p.SPDXID }) {
		d.Packages = append(d.Packages, p)
	}
	d.Relationships = append(d.Relationships, relationship{element, how, p.SPDXID})
	return p.SPDXID
}

func (p part) locator() string {
	if len(p.ExternalRefs) == 0 {
		return "ours"
	}
	return p.ExternalRefs[0].Locator
}

// parts are the modules of third_party by what they are parts of.
var parts = map[string]string{
	"binproxy/third_party/hash": "Go's standard library",
	"binproxy/third_party/zstd": "github.com/klauspost/compress",
}

// ofModule describes a Go module. What is in third_party is a part of another.
func ofModule(m module) part {
	p := part{Name: m.Path, VersionInfo: m.Version, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion,
		ExternalRefs: []reference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + m.Version}}}
	if m.Replace != nil {
		p.ExternalRefs, p.Comment = nil, "part of "+parts[m.Path]+", see "+strings.TrimPrefix(m.Path, "binproxy/")+"/README.md"
	}
	return p
}
