// Package manifest writes what package managers of macOS and Windows want to know of a
// release: a Homebrew formula, a Scoop manifest and the three files of a winget manifest.
// They name archives by URL and SHA-256, so they are made after the archives.
package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Release is what is being released.
type Release struct {
	Version  string
	Homepage string
	// BaseURL is where the archives are, without a slash at the end.
	BaseURL string
	At      time.Time
	// Archives by "GOOS/GOARCH".
	Archives map[string]Archive
}

// Archive is one file of a release.
type Archive struct{ File, SHA256 string }

const description = "Reach exactly the servers that policy allows, by WireGuard, without root"

// archive returns one that is there.
func (r *Release) archive(platform string) (Archive, error) {
	a, ok := r.Archives[platform]
	if !ok {
		return a, fmt.Errorf("no archive for %s", platform)
	}
	return a, nil
}

// Homebrew returns the formula (Formula/weft.rb of a tap), for the platforms that are there.
func (r *Release) Homebrew() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `class Weft < Formula
  desc %q
  homepage %q
  version %q
  license "Apache-2.0"

`, description, r.Homepage, r.Version)
	found := false
	for _, system := range []struct{ block, goos string }{{"on_macos", "darwin"}, {"on_linux", "linux"}} {
		var arches strings.Builder
		for _, arch := range []struct{ block, goarch string }{{"on_arm", "arm64"}, {"on_intel", "amd64"}} {
			a, err := r.archive(system.goos + "/" + arch.goarch)
			if err != nil {
				continue
			}
			fmt.Fprintf(&arches, "    %s do\n      url %q\n      sha256 %q\n    end\n", arch.block, r.BaseURL+"/"+a.File, a.SHA256)
		}
		if arches.Len() > 0 {
			found = true
			fmt.Fprintf(&b, "  %s do\n%s  end\n\n", system.block, arches.String())
		}
	}
	if !found {
		return "", fmt.Errorf("no archive for macOS or Linux")
	}
	b.WriteString(`  def install
    bin.install "warp-cli", "warp-svc", "weft"
    man1.install "man/warp-cli.1"
    man8.install "man/warp-svc.8", "man/weft.8"
    generate_completions_from_executable(bin/"warp-cli", "completion", shells: [:bash, :zsh, :fish])
    generate_completions_from_executable(bin/"weft", "completion", shells: [:bash, :zsh, :fish])
  end

  service do
    run [opt_bin/"warp-svc", "run", "--log-file", var/"log/warp-svc.log"]
    keep_alive true
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/warp-cli version --client")
  end
end
`)
	return b.String(), nil
}

type scoopArch struct {
	URL  string `json:"url"`
	Hash string `json:"hash"`
}

// Scoop returns the manifest (bucket/weft.json).
func (r *Release) Scoop() (string, error) {
	arches := map[string]scoopArch{}
	for name, goarch := range map[string]string{"64bit": "amd64", "arm64": "arm64"} {
		if a, err := r.archive("windows/" + goarch); err == nil {
			arches[name] = scoopArch{r.BaseURL + "/" + a.File, a.SHA256}
		}
	}
	if len(arches) == 0 {
		return "", fmt.Errorf("no archive for Windows")
	}
	b, err := json.MarshalIndent(struct {
		Version      string               `json:"version"`
		Description  string               `json:"description"`
		Homepage     string               `json:"homepage"`
		License      string               `json:"license"`
		Notes        []string             `json:"notes"`
		Architecture map[string]scoopArch `json:"architecture"`
		Bin          []string             `json:"bin"`
	}{
		r.Version, description, r.Homepage, "Apache-2.0",
		[]string{"Start the agent for yourself with: warp-cli service install --user --now"},
		arches,
		[]string{"warp-cli.exe", "warp-svc.exe"},
	}, "", "    ")
	if err != nil {
		return "", fmt.Errorf("encode the Scoop manifest: %w", err)
	}
	return string(b) + "\n", nil
}

// wingetSchema is the version of winget's manifest schema.
const wingetSchema = "1.6.0"

// Winget returns the files of the manifest by name. The installer is the MSI.
func (r *Release) Winget(msi Archive, productCode string) map[string]string {
	const id = "Weft.Weft"
	head := func(kind string) string {
		return fmt.Sprintf("# yaml-language-server: $schema=https://aka.ms/winget-manifest.%s.%s.schema.json\nPackageIdentifier: %s\nPackageVersion: %s\n",
			kind, wingetSchema, id, r.Version)
	}
	tail := func(kind string) string {
		return fmt.Sprintf("ManifestType: %s\nManifestVersion: %s\n", kind, wingetSchema)
	}
	return map[string]string{
		id + ".yaml": head("version") + "DefaultLocale: en-US\n" + tail("version"),
		id + ".locale.en-US.yaml": head("defaultLocale") + "PackageLocale: en-US\nPublisher: Weft\nPackageName: Weft\nPackageUrl: " + r.Homepage +
			"\nLicense: Apache-2.0\nShortDescription: " + description + "\n" + tail("defaultLocale"),
		id + ".installer.yaml": head("installer") + "InstallerType: wix\nScope: machine\nUpgradeBehavior: install\nReleaseDate: " + r.At.UTC().Format("2006-01-02") +
			"\nInstallers:\n- Architecture: x64\n  InstallerUrl: " + r.BaseURL + "/" + msi.File + "\n  InstallerSha256: " + strings.ToUpper(msi.SHA256) +
			"\n  ProductCode: '" + productCode + "'\n" + tail("installer"),
	}
}
