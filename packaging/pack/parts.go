package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"weft/packaging/archive"
	"weft/packaging/manifest"
	"weft/packaging/manpage"
	"weft/packaging/msisummary"
	"weft/packaging/oci"
	"weft/packaging/sbom"
)

// versionFlag: the version is the same in all parts of a release.
func versionFlag(fs *flag.FlagSet, v *string) {
	fs.StringVar(v, "version", "", "version of the release")
}

func makeManPage(ctx context.Context, at time.Time, args []string) error {
	p := manpage.Page{Date: at}
	var see, out string
	fs := flag.NewFlagSet("man", flag.ContinueOnError)
	fs.StringVar(&p.Program, "program", "", "path of the program to ask")
	fs.StringVar(&p.Name, "name", "", "its name")
	fs.IntVar(&p.Section, "section", 1, "section of the manual")
	fs.StringVar(&see, "see", "", "other pages, separated by commas")
	fs.StringVar(&out, "out", "", "file to write")
	versionFlag(fs, &p.Version)
	if err := parse(fs, args); err != nil {
		return err
	}
	p.SeeAlso = strings.Split(see, ",")
	page, err := manpage.Generate(ctx, p)
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(page), 0o644)
}

func makeArchive(_ context.Context, at time.Time, args []string) error {
	var dir, prefix, out string
	fs := flag.NewFlagSet("archive", flag.ContinueOnError)
	fs.StringVar(&dir, "dir", "", "folder to put into it")
	fs.StringVar(&prefix, "prefix", "./", "put before each name, with the slash")
	fs.StringVar(&out, "out", "", "file to write: .tar.gz or .zip")
	if err := parse(fs, args); err != nil {
		return err
	}
	entries, err := archive.FromDir(dir, strings.TrimPrefix(prefix, "./"))
	if err != nil {
		return err
	}
	var data []byte
	if strings.HasSuffix(out, ".zip") {
		data, err = archive.Zip(entries, at)
	} else {
		data, _, err = archive.TarGz(entries, at)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o644)
}

// imageUID is the account in the images: no system gives it to a person.
const imageUID = 65532

func makeImage(_ context.Context, at time.Time, args []string) error {
	img := oci.Image{At: at, UID: imageUID, Layers: map[string][]archive.Entry{}}
	var program, out, ports string
	fs := flag.NewFlagSet("oci", flag.ContinueOnError)
	fs.StringVar(&img.Name, "name", "", "name of the image")
	fs.StringVar(&img.Title, "title", "", "one line about it")
	fs.StringVar(&img.Revision, "revision", "", "revision of the sources")
	fs.StringVar(&program, "entrypoint", "", "program to start")
	fs.StringVar(&ports, "ports", "none", "ports, separated by commas")
	fs.StringVar(&out, "out", "", "tar file of the layout to write")
	versionFlag(fs, &img.Version)
	if err := parse(fs, args); err != nil {
		return err
	}
	img.Entrypoint, img.Volumes = []string{"/usr/bin/" + program}, []string{"/var/lib/weft"}
	if ports != "none" {
		img.Ports = strings.Split(ports, ",")
	}
	if program == "warp-svc" {
		img.Cmd = []string{"run", "--state-dir", "/var/lib/weft", "--socket", "/run/weft/warp.sock"}
		img.Env = []string{"WEFT_KEYSTORE=file", "WARP_SOCKET=/run/weft/warp.sock"}
	}
	for _, arg := range fs.Args() { // ARCH=FOLDER
		arch, dir, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=FOLDER", arg)
		}
		entries, err := archive.FromDir(dir, "usr/bin/")
		if err != nil {
			return err
		}
		img.Layers[arch] = entries
	}
	entries, err := oci.Layout(img)
	if err != nil {
		return err
	}
	for _, dir := range []string{"blobs", "blobs/sha256"} {
		entries = append(entries, archive.Entry{Name: dir, Mode: os.ModeDir | 0o755})
	}
	var b bytes.Buffer
	if err := archive.Tar(&b, entries, at); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// checkImage checks layouts in tar files.
func checkImage(_ context.Context, _ time.Time, args []string) error {
	for _, name := range args {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		files, err := untar(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := oci.Check(files); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(os.Stdout, "%s: a valid OCI image layout\n", name)
	}
	return nil
}

func untar(r io.Reader) (fstest.MapFS, error) {
	files := fstest.MapFS{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		files[h.Name] = &fstest.MapFile{Data: b}
	}
}

func makeSBOM(_ context.Context, at time.Time, args []string) error {
	var name, version, out string
	fs := flag.NewFlagSet("sbom", flag.ContinueOnError)
	fs.StringVar(&name, "name", "", "what it is about")
	fs.StringVar(&out, "out", "", "file to write")
	versionFlag(fs, &version)
	if err := parse(fs, args); err != nil {
		return err
	}
	b, err := sbom.Generate(name, version, at, fs.Args())
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

func makeManifests(_ context.Context, at time.Time, args []string) error {
	r := manifest.Release{At: at, Archives: map[string]manifest.Archive{}}
	var dist, msi, product string
	fs := flag.NewFlagSet("manifests", flag.ContinueOnError)
	fs.StringVar(&dist, "dist", "", "folder of the archives; manifests/ is made in it")
	fs.StringVar(&r.Homepage, "homepage", "", "where people find out more")
	fs.StringVar(&r.BaseURL, "base-url", "", "where the archives will be")
	fs.StringVar(&msi, "msi", "none", "name of the MSI")
	fs.StringVar(&product, "product", "none", "its product code")
	versionFlag(fs, &r.Version)
	if err := parse(fs, args); err != nil {
		return err
	}
	for _, platform := range fs.Args() {
		goos, arch, _ := strings.Cut(platform, "/")
		ext := ".tar.gz"
		if goos == "windows" {
			ext = ".zip"
		}
		file := fmt.Sprintf("weft_%s_%s_%s%s", r.Version, goos, arch, ext)
		sum, err := sumOf(filepath.Join(dist, file))
		if err != nil {
			return err
		}
		r.Archives[platform] = manifest.Archive{File: file, SHA256: sum}
	}
	files := map[string]string{}
	if s, err := r.Homebrew(); err == nil {
		files["homebrew/weft.rb"] = s
	}
	if s, err := r.Scoop(); err == nil {
		files["scoop/weft.json"] = s
	}
	if msi != "none" {
		sum, err := sumOf(filepath.Join(dist, msi))
		if err != nil {
			return err
		}
		for name, s := range r.Winget(manifest.Archive{File: msi, SHA256: sum}, product) {
			files["winget/"+name] = s
		}
	}
	for name, s := range files {
		path := filepath.Join(dist, "manifests", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(s), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// makeSums writes SHA256SUMS, as sha256sum -c reads it, of all files of a folder.
func makeSums(_ context.Context, _ time.Time, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: pack sums FOLDER")
	}
	entries, err := os.ReadDir(args[0]) // sorted
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		if e.IsDir() || e.Name() == "SHA256SUMS" {
			continue
		}
		sum, err := sumOf(filepath.Join(args[0], e.Name()))
		if err != nil {
			return err
		}
		b.WriteString(sum + "  " + e.Name() + "\n")
	}
	return os.WriteFile(filepath.Join(args[0], "SHA256SUMS"), []byte(b.String()), 0o644)
}

// productID prints a UUID for a name: each version of the MSI is a product of its own, and the same one in every build.
func productID(_ context.Context, _ time.Time, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: pack product-id NAME")
	}
	u := sha256.Sum256([]byte("weft msi " + args[0]))
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	_, err := fmt.Fprintln(os.Stdout, strings.ToUpper(fmt.Sprintf("{%x-%x-%x-%x-%x}", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])))
	return err
}

// fixSummary makes the summary of an MSI repeatable.
func fixSummary(_ context.Context, at time.Time, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: pack msi-summary FILE {UUID}")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if err := msisummary.Fix(b, at, args[1]); err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o644)
}
