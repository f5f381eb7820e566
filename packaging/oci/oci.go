// Package oci writes and checks container images as an OCI image layout, without a
// container engine: https://github.com/opencontainers/image-spec, version 1.1. The same
// input gives the same bytes.
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"weft/packaging/archive"
)

// Media types of the specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Image is one program in an otherwise empty image, for several platforms.
type Image struct {
	Name, Title, Version, Revision string
	Entrypoint                     []string
	Cmd                            []string
	Ports                          []string // such as "51820/udp"
	Volumes                        []string
	Env                            []string
	UID                            int
	At                             time.Time
	// Layers is the content by architecture (GOARCH).
	Layers map[string][]archive.Entry
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type imageConfig struct {
	Created      string    `json:"created"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       runConfig `json:"config"`
	RootFS       rootFS    `json:"rootfs"`
	History      []history `json:"history"`
}

type runConfig struct {
	User         string              `json:"User"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// layout collects the files of an image layout.
type layout struct{ files map[string]archive.Entry }

func (l *layout) file(name string, data []byte) {
	l.files[name] = archive.Entry{Name: name, Mode: 0o644, Data: data}
}

func (l *layout) blob(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	l.file("blobs/sha256/"+d.Digest[len("sha256:"):], data)
	return d
}

func (l *layout) jsonBlob(mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return l.blob(mediaType, b), nil
}

// Layout returns the files of the image layout.
func Layout(img Image) ([]archive.Entry, error) {
	l := layout{files: map[string]archive.Entry{}}
	l.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	inner := index{SchemaVersion: 2, MediaType: typeIndex, Annotations: img.annotations()}
	for _, arch := range slices.Sorted(maps.Keys(img.Layers)) {
		d, err := l.platform(img, arch)
		if err != nil {
			return nil, err
		}
		inner.Manifests = append(inner.Manifests, d)
	}
	d, err := l.jsonBlob(typeIndex, inner)
	if err != nil {
		return nil, err
	}
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": img.Version}
	b, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	l.file("index.json", b)
	return slices.Collect(maps.Values(l.files)), nil
}

// platform writes layer, configuration and manifest of one architecture.
func (l *layout) platform(img Image, arch string) (descriptor, error) {
	compressed, plain, err := archive.TarGz(append(img.base(), img.Layers[arch]...), img.At)
	if err != nil {
		return descriptor{}, err
	}
	created := img.At.UTC().Format(time.RFC3339)
	config, err := l.jsonBlob(typeConfig, imageConfig{
		Created: created, Architecture: arch, OS: "linux",
		Config: runConfig{
			User: fmt.Sprintf("%d:%d", img.UID, img.UID), ExposedPorts: set(img.Ports), Volumes: set(img.Volumes),
			Env:        append([]string{"PATH=/usr/bin", "HOME=/home/weft"}, img.Env...),
			Entrypoint: img.Entrypoint, Cmd: img.Cmd, WorkingDir: "/home/weft", Labels: img.annotations(), StopSignal: "SIGTERM",
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{digest(plain)}},
		History: []history{{Created: created, CreatedBy: "weft/packaging/oci"}},
	})
	if err != nil {
		return descriptor{}, err
	}
	d, err := l.jsonBlob(typeManifest, manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: config, Layers: []descriptor{l.blob(typeLayer, compressed)}, Annotations: img.annotations(),
	})
	d.Platform = &platform{Architecture: arch, OS: "linux"}
	return d, err
}

// base is what a program expects of a system: names of accounts, a home, a place for temporary files.
func (img *Image) base() []archive.Entry {
	dir := func(name string, mode fs.FileMode, id int) archive.Entry {
		return archive.Entry{Name: name, Mode: fs.ModeDir | mode, UID: id, GID: id}
	}
	all := []archive.Entry{
		dir("etc", 0o755, 0), dir("home", 0o755, 0), dir("home/weft", 0o700, img.UID), dir("run", 0o755, 0), dir("run/weft", 0o755, img.UID),
		dir("tmp", fs.ModeSticky|0o777, 0), dir("usr", 0o755, 0), dir("usr/bin", 0o755, 0), dir("var", 0o755, 0), dir("var/lib", 0o755, 0),
		dir("var/lib/weft", 0o700, img.UID),
		{Name: "etc/passwd", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:0:root:/nonexistent:/sbin/nologin\nweft:x:%d:%d:weft:/home/weft:/sbin/nologin\n", img.UID, img.UID)},
		{Name: "etc/group", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:\nweft:x:%d:\n", img.UID)},
		{Name: "etc/nsswitch.conf", Mode: 0o644, Data: []byte("hosts: files dns\n")},
	}
	return all
}

func (img *Image) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title": img.Name, "org.opencontainers.image.description": img.Title, "org.opencontainers.image.version": img.Version,
		"org.opencontainers.image.revision": img.Revision, "org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.created": img.At.UTC().Format(time.RFC3339),
	}
}

func set(names []string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}
