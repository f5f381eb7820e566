package sbom_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/packaging/sbom"
)

// The test binary is a program like any other.
func TestGenerate(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0)
	b, err := sbom.Generate("test", "1.2.3", at, []string{self})
	if err != nil {
		t.Fatal(err)
	}
	again, err := sbom.Generate("test", "1.2.3", at, []string{self})
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("a second document differs, %v", err)
	}
	var doc struct {
		BOMFormat, SpecVersion, SerialNumber string
		Components                           []struct {
			Type, Name, PURL string
			Ref              string `json:"bom-ref"`
			Hashes           []struct{ Alg, Content string }
		}
		Dependencies []struct{ DependsOn []string }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{}
	for _, c := range doc.Components {
		refs[c.Ref] = true
		if c.Type == "library" && !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("library without a package URL: %+v", c)
		}
	}
	if doc.BOMFormat != "CycloneDX" || doc.SpecVersion != "1.6" || !strings.HasPrefix(doc.SerialNumber, "urn:uuid:") || len(doc.Dependencies) != 1 {
		t.Errorf("document %+v", doc)
	}
	if c := doc.Components[0]; c.Name != filepath.Base(self) || len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64 {
		t.Errorf("program %+v", c)
	}
	for _, ref := range doc.Dependencies[0].DependsOn {
		if !refs[ref] {
			t.Errorf("%s is depended on and not described", ref)
		}
	}
	if _, err := sbom.Generate("test", "1", at, []string{"sbom.go"}); err == nil {
		t.Error("no error for what is no program")
	}
}
