// Package sbom lists what a program is made of, from the build information that the Go
// linker puts into it, as a CycloneDX 1.6 document (ECMA-424). The same programs give the
// same bytes.
package sbom

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

type document struct {
	BOMFormat    string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type     string    `json:"type"`
	Ref      string    `json:"bom-ref"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licenses []license `json:"licenses,omitempty"`
	PURL     string    `json:"purl,omitempty"`
	// Properties say how a program was built.
	Properties []property `json:"properties,omitempty"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// Generate reads the programs and returns the document.
func Generate(name, version string, at time.Time, programs []string) ([]byte, error) {
	doc := document{
		BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: component{Type: "application", Ref: name, Name: name, Version: version}},
	}
	doc.Metadata.Component.Licenses = apache()
	libraries := map[string]component{}
	all := sha256.New()
	for _, path := range slices.Sorted(slices.Values(programs)) {
		c, deps, sum, err := program(path, version, libraries)
		if err != nil {
			return nil, err
		}
		all.Write(sum)
		doc.Components = append(doc.Components, c)
		doc.Dependencies = append(doc.Dependencies, dependency{Ref: c.Ref, DependsOn: deps})
	}
	for _, ref := range slices.Sorted(maps.Keys(libraries)) {
		doc.Components = append(doc.Components, libraries[ref])
	}
	// A serial number is a random UUID; this one is drawn from the content (RFC 9562, version 8).
	u := all.Sum(nil)[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	doc.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the bill of materials: %w", err)
	}
	return append(b, '\n'), nil
}

func apache() []license {
	var l license
	l.License.ID = "Apache-2.0"
	return []license{l}
}

// program describes one program, and adds its modules to libraries.
func program(path, version string, libraries map[string]component) (c component, deps []string, sum []byte, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return c, nil, nil, fmt.Errorf("read build information of %s: %w", path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, nil, nil, fmt.Errorf("read program: %w", err)
	}
	h := sha256.Sum256(data)
	c = component{
		Type: "application", Ref: "program:" + filepath.Base(path), Name: filepath.Base(path), Version: version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(h[:])}}, Licenses: apache(),
	}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" || s.Key == "-trimpath" {
			c.Properties = append(c.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	std := library("std", strings.TrimPrefix(info.GoVersion, "go"), "")
	libraries[std.Ref] = std
	deps = append(deps, std.Ref)
	for _, m := range info.Deps {
		l := module(m)
		libraries[l.Ref] = l
		deps = append(deps, l.Ref)
	}
	slices.Sort(deps)
	return c, deps, h[:], nil
}

func module(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	return library(m.Path, m.Version, m.Sum)
}

func library(path, version, sum string) component {
	purl := "pkg:golang/" + path + "@" + version
	c := component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
	if sum != "" {
		// h1: is a hash of the module's file tree, not of a file: no hash in CycloneDX's sense.
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}
