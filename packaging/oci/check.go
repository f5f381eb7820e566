package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"
)

// maxBlob bounds what is read of one blob.
const maxBlob = 1 << 30

// digestPattern is a digest by SHA-256: image-spec, descriptor.md.
var digestPattern = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)

// Check reads an image layout and fails at the first rule of the specification that it breaks. It shares no code with
// the writer but the structs.
func Check(fsys fs.FS) error {
	c := checker{fsys: fsys, used: map[string]bool{}}
	if err := c.layout(); err != nil {
		return err
	}
	b, err := fs.ReadFile(fsys, "index.json")
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	if err := c.index("index.json", b, 0); err != nil {
		return err
	}
	return c.nothingElse()
}

type checker struct {
	fsys   fs.FS
	used   map[string]bool
	images int
}

func (c *checker) layout() error {
	b, err := fs.ReadFile(c.fsys, "oci-layout")
	if err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Version != "1.0.0" {
		return fmt.Errorf("oci-layout: version %q (%w), want 1.0.0", v.Version, err)
	}
	return nil
}

// strict decodes with no field that the structs do not know.
func strict(name string, b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (c *checker) index(name string, b []byte, depth int) error {
	var idx index
	if err := strict(name, b, &idx); err != nil {
		return err
	}
	if idx.SchemaVersion != 2 || idx.MediaType != typeIndex || len(idx.Manifests) == 0 || depth > 2 {
		return fmt.Errorf("%s: schemaVersion %d, mediaType %q, %d manifests, depth %d", name, idx.SchemaVersion, idx.MediaType, len(idx.Manifests), depth)
	}
	for _, d := range idx.Manifests {
		b, err := c.blob(d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch d.MediaType {
		case typeIndex:
			err = c.index(d.Digest, b, depth+1)
		case typeManifest:
			err = c.manifest(d, b)
		default:
			err = fmt.Errorf("%s: mediaType %q", name, d.MediaType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blob reads what d describes, and checks that it is that.
func (c *checker) blob(d descriptor) ([]byte, error) {
	if !digestPattern.MatchString(d.Digest) {
		return nil, fmt.Errorf("digest %q", d.Digest)
	}
	name := "blobs/sha256/" + strings.TrimPrefix(d.Digest, "sha256:")
	c.used[name] = true
	b, err := fs.ReadFile(c.fsys, name)
	if err != nil {
		return nil, err
	}
	if len(b) != d.Size || digest(b) != d.Digest {
		return nil, fmt.Errorf("blob %s has %d bytes and digest %s, described as %d bytes", d.Digest, len(b), digest(b), d.Size)
	}
	return b, nil
}

func (c *checker) manifest(d descriptor, b []byte) error {
	var m manifest
	if err := strict(d.Digest, b, &m); err != nil {
		return err
	}
	if m.SchemaVersion != 2 || m.MediaType != typeManifest || m.Config.MediaType != typeConfig || len(m.Layers) == 0 {
		return fmt.Errorf("manifest %s: schemaVersion %d, mediaType %q, config %q, %d layers", d.Digest, m.SchemaVersion, m.MediaType, m.Config.MediaType, len(m.Layers))
	}
	b, err := c.blob(m.Config)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	var config imageConfig
	if err := strict(m.Config.Digest, b, &config); err != nil {
		return err
	}
	if _, err := time.Parse(time.RFC3339, config.Created); err != nil || config.RootFS.Type != "layers" || len(config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("config %s: created %q, rootfs %+v for %d layers", m.Config.Digest, config.Created, config.RootFS, len(m.Layers))
	}
	if d.Platform == nil || d.Platform.OS != config.OS || d.Platform.Architecture != config.Architecture {
		return fmt.Errorf("config %s is for %s/%s, described as %+v", m.Config.Digest, config.OS, config.Architecture, d.Platform)
	}
	files := map[string]*tar.Header{}
	for i, layer := range m.Layers {
		if err := c.layer(layer, config.RootFS.DiffIDs[i], files); err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	c.images++
	return runnable(config, files)
}

// layer checks a layer's bytes and its file names, and adds them to files.
func (c *checker) layer(d descriptor, diffID string, files map[string]*tar.Header) error {
	if d.MediaType != typeLayer {
		return fmt.Errorf("layer %s: mediaType %q", d.Digest, d.MediaType)
	}
	b, err := c.blob(d)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxBlob))
	if err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	if digest(plain) != diffID {
		return fmt.Errorf("layer %s: uncompressed it is %s, the config says %s", d.Digest, digest(plain), diffID)
	}
	tr := tar.NewReader(bytes.NewReader(plain))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if !fs.ValidPath(name) {
			return fmt.Errorf("layer %s: path %q", d.Digest, h.Name)
		}
		if dir := path.Dir(name); dir != "." && (files[dir] == nil || files[dir].Typeflag != tar.TypeDir) {
			return fmt.Errorf("layer %s: %s comes before its directory", d.Digest, name)
		}
		if files[name] != nil {
			return fmt.Errorf("layer %s: %s is there twice", d.Digest, name)
		}
		files[name] = h
	}
}

// runnable: the entry point is an executable of the image, and does not run as root.
func runnable(config imageConfig, files map[string]*tar.Header) error {
	if len(config.Config.Entrypoint) == 0 {
		return errors.New("config: no entry point")
	}
	h := files[strings.TrimPrefix(config.Config.Entrypoint[0], "/")]
	if h == nil || h.Typeflag != tar.TypeReg || h.Mode&0o111 == 0 {
		return fmt.Errorf("config: entry point %s is not in the image", config.Config.Entrypoint[0])
	}
	if config.Config.User == "" || strings.HasPrefix(config.Config.User, "0") || strings.HasPrefix(config.Config.User, "root") {
		return fmt.Errorf("config: user %q", config.Config.User)
	}
	return nil
}

// nothingElse: every file is one that was described.
func (c *checker) nothingElse() error {
	return fs.WalkDir(c.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "oci-layout" || name == "index.json" || c.used[name] {
			return err
		}
		return fmt.Errorf("%s is described by nothing", name)
	})
}
