package manifest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weft/packaging/manifest"
)

func release() *manifest.Release {
	return &manifest.Release{
		Version: "1.2.3", Homepage: "https://weft.example", BaseURL: "https://weft.example/r/1.2.3", At: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Archives: map[string]manifest.Archive{
			"darwin/arm64": {File: "weft_darwin.tar.gz", SHA256: "aa"}, "linux/amd64": {File: "weft_linux.tar.gz", SHA256: "bb"},
			"windows/amd64": {File: "weft_windows.zip", SHA256: "cc"},
		},
	}
}

func TestHomebrew(t *testing.T) {
	got, err := release().Homebrew()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"class Weft < Formula\n", `version "1.2.3"`, "  on_macos do\n    on_arm do\n      url \"https://weft.example/r/1.2.3/weft_darwin.tar.gz\"\n      sha256 \"aa\"\n",
		"  on_linux do\n    on_intel do\n", `sha256 "bb"`, "service do",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the formula lacks %q:\n%s", want, got)
		}
	}
	if n, m := strings.Count(got, " do\n")+strings.Count(got, "\n  def ")+1, strings.Count(got, "end\n"); n != m {
		t.Errorf("%d blocks, %d ends", n, m)
	}
	if _, err := (&manifest.Release{}).Homebrew(); err == nil {
		t.Error("a formula without an archive")
	}
}

func TestScoop(t *testing.T) {
	text, err := release().Scoop()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version      string
		Architecture map[string]struct{ URL, Hash string }
		Bin          []string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if a := got.Architecture["64bit"]; got.Version != "1.2.3" || a.URL != "https://weft.example/r/1.2.3/weft_windows.zip" || a.Hash != "cc" || len(got.Bin) != 2 {
		t.Errorf("manifest %+v", got)
	}
	if _, err := (&manifest.Release{}).Scoop(); err == nil {
		t.Error("a manifest without an archive")
	}
}

func TestWinget(t *testing.T) {
	got := release().Winget(manifest.Archive{File: "warp.msi", SHA256: "dd"}, "{1}")
	if len(got) != 3 {
		t.Errorf("%d files, want 3", len(got))
	}
	for name, text := range got {
		if !strings.Contains(text, "PackageIdentifier: Weft.Weft\nPackageVersion: 1.2.3\n") || !strings.Contains(text, "ManifestVersion: 1.6.0\n") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if i := got["Weft.Weft.installer.yaml"]; !strings.Contains(i, "InstallerSha256: DD\n") || !strings.Contains(i, "ProductCode: '{1}'") {
		t.Errorf("installer: %s", i)
	}
}
