package oci_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/packaging/archive"
	"weft/packaging/oci"
)

func image() oci.Image {
	program := func(text string) []archive.Entry {
		return []archive.Entry{{Name: "usr/bin/weft", Mode: 0o755, Data: []byte(text)}}
	}
	return oci.Image{
		Name: "weft", Title: "a test", Version: "1.2.3", Revision: "abc", Entrypoint: []string{"/usr/bin/weft"}, Ports: []string{"8443/tcp"},
		UID: 65532, At: time.Unix(1_700_000_000, 0), Layers: map[string][]archive.Entry{"amd64": program("one"), "arm64": program("two")},
	}
}

func files(t *testing.T, img oci.Image) fstest.MapFS {
	t.Helper()
	entries, err := oci.Layout(img)
	if err != nil {
		t.Fatal(err)
	}
	fs := fstest.MapFS{}
	for _, e := range entries {
		fs[e.Name] = &fstest.MapFile{Data: e.Data}
	}
	return fs
}

func TestLayout_IsValidAndRepeatable(t *testing.T) {
	fs := files(t, image())
	if err := oci.Check(fs); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(fs, files(t, image())); diff != "" {
		t.Errorf("a second layout differs:\n%s", diff)
	}
	// Index of platforms, two manifests, two configurations, two layers; oci-layout and index.json.
	if len(fs) != 9 {
		t.Errorf("%d files, want 9", len(fs))
	}
}

// Each rule is broken once, and found.
func TestCheck_FindsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		image func(*oci.Image)
		files func(fstest.MapFS)
		want  string
	}{
		{"root", func(i *oci.Image) { i.UID = 0 }, nil, "user"},
		{"no entry point", func(i *oci.Image) { i.Entrypoint = nil }, nil, "no entry point"},
		{"an entry point that is not there", func(i *oci.Image) { i.Entrypoint = []string{"/bin/sh"} }, nil, "not in the image"},
		{"a path that leaves", func(i *oci.Image) {
			i.Layers["amd64"] = append(i.Layers["amd64"], archive.Entry{Name: "../etc/shadow", Mode: 0o644})
		}, nil, "path"},
		{"a file without its directory", func(i *oci.Image) {
			i.Layers["amd64"] = append(i.Layers["amd64"], archive.Entry{Name: "opt/x", Mode: 0o644})
		}, nil, "before its directory"},
		{"a file twice", func(i *oci.Image) { i.Layers["amd64"] = append(i.Layers["amd64"], i.Layers["amd64"][0]) }, nil, "twice"},
		{"no layout file", nil, func(fs fstest.MapFS) { delete(fs, "oci-layout") }, "oci-layout"},
		{"another layout version", nil, func(fs fstest.MapFS) { fs["oci-layout"].Data = []byte(`{"imageLayoutVersion":"2.0.0"}`) }, "version"},
		{"an unknown field", nil, func(fs fstest.MapFS) { fs["index.json"].Data = []byte(`{"schemaVersion":2,"x":1}`) }, "unknown field"},
		{"nothing in the index", nil, func(fs fstest.MapFS) { fs["index.json"].Data = []byte(`{"schemaVersion":2}`) }, "0 manifests"},
		{"a file too many", nil, func(fs fstest.MapFS) { fs["blobs/sha256/x"] = &fstest.MapFile{} }, "described by nothing"},
		{"a changed blob", nil, func(fs fstest.MapFS) {
			for name, f := range fs {
				if strings.HasPrefix(name, "blobs/") {
					f.Data = append([]byte(" "), f.Data...)
				}
			}
		}, "has"},
		{"a missing blob", nil, func(fs fstest.MapFS) {
			for name := range fs {
				if strings.HasPrefix(name, "blobs/") {
					delete(fs, name)
				}
			}
		}, "not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := image()
			if tt.image != nil {
				tt.image(&img)
			}
			fs := files(t, img)
			if tt.files != nil {
				tt.files(fs)
			}
			if err := oci.Check(fs); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check: %v, want %q", err, tt.want)
			}
		})
	}
}
