// Package posture looks at the machine for the posture rules of control: what system it is, whether a file is there,
// whether a program runs, whether the disks are encrypted. It needs no privilege, and what it cannot tell it says so:
// control fails the rule then. It decides nothing.
package posture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"weft/api"
)

// Limits of one look.
const (
	maxDigestBytes = 1 << 30 // of a file whose digest is asked for
	maxChecks      = 500
	maxFactBytes   = 200
)

// The types of checks that are looked at; the facts decide the others.
const (
	typeFile           = "file"
	typeApplication    = "application"
	typeDiskEncryption = "disk_encryption"
)

// Prober looks at a machine. The zero value looks at this one. It is safe for concurrent use.
type Prober struct {
	// Root is the directory in which the system's own files (proc, sys, etc) are looked for; empty: "/".
	Root string

	mu      sync.Mutex
	digests map[string]digest // guarded by mu; by path
}

// digest is that of a file as it was: it is computed again when the file looks different.
type digest struct {
	size    int64
	changed time.Time
	sum     string
}

// Report looks at everything that is asked for.
func (p *Prober) Report(ctx context.Context, checks []api.PostureCheck) api.PostureReport {
	r := api.PostureReport{Facts: p.facts(), Observations: make(map[string]api.PostureObservation, len(checks))}
	r.Facts.OS = runtime.GOOS
	for _, s := range []*string{
		&r.Facts.OSVersion, &r.Facts.OSVersionExtra, &r.Facts.OSDistroName, &r.Facts.OSDistroRevision, &r.Facts.SerialNumber, &r.Facts.Manufacturer, &r.Facts.Model,
	} {
		*s = printable(*s, maxFactBytes)
	}
	for _, c := range checks[:min(len(checks), maxChecks)] {
		o, err := p.observe(ctx, c)
		if err != nil {
			o = api.PostureObservation{Error: printable(err.Error(), maxFactBytes)}
		}
		r.Observations[c.ID] = o
	}
	return r
}

func (p *Prober) observe(ctx context.Context, c api.PostureCheck) (api.PostureObservation, error) {
	switch c.Type {
	case typeFile:
		return p.file(ctx, c)
	case typeApplication:
		return p.application(ctx, c)
	case typeDiskEncryption:
		disks, err := p.disks()
		return api.PostureObservation{Disks: disks}, err
	}
	return api.PostureObservation{}, nil
}

func (p *Prober) path(elements ...string) string {
	root := p.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

func (p *Prober) file(ctx context.Context, c api.PostureCheck) (o api.PostureObservation, err error) {
	if !filepath.IsAbs(c.Path) {
		return o, fmt.Errorf("the path %q is not absolute on this system", c.Path)
	}
	switch _, err := os.Stat(c.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return o, nil
	case err != nil:
		return o, fmt.Errorf("the file cannot be looked at: %w", bare(err))
	}
	o.Exists = true
	if c.SHA256 {
		o.SHA256, err = p.sha256(ctx, c.Path)
	}
	return o, err
}

// application finds a running process of the program at a path; the digest is that of the program as it runs, not of what
// lies at the path by now.
func (p *Prober) application(ctx context.Context, c api.PostureCheck) (o api.PostureObservation, err error) {
	if !filepath.IsAbs(c.Path) {
		return o, fmt.Errorf("the path %q is not absolute on this system", c.Path)
	}
	image, err := p.running(c.Path)
	if err != nil || image == "" {
		return o, err
	}
	o.Running = true
	if c.SHA256 {
		o.SHA256, err = p.sha256(ctx, image)
	}
	return o, err
}

// sha256 is the digest of a regular file.
func (p *Prober) sha256(ctx context.Context, path string) (string, error) {
	// Non-blocking, in case something other than a file has come to the place.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", bare(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	st, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("the file cannot be read: %w", bare(err))
	case !st.Mode().IsRegular():
		return "", errors.New("it is not a file")
	case st.Size() > maxDigestBytes:
		return "", fmt.Errorf("the file is larger than %d bytes", maxDigestBytes)
	}
	p.mu.Lock()
	known, ok := p.digests[path]
	p.mu.Unlock()
	if ok && known.size == st.Size() && known.changed.Equal(st.ModTime()) {
		return known.sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(&interruptible{ctx, f}, maxDigestBytes)); err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", bare(err))
	}
	d := digest{size: st.Size(), changed: st.ModTime(), sum: hex.EncodeToString(h.Sum(nil))}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.digests == nil || len(p.digests) >= maxChecks {
		p.digests = map[string]digest{}
	}
	p.digests[path] = d
	return d.sum, nil
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx  context.Context //nolint:containedctx // it lives for one call that has this very context
	from io.Reader
}

func (r *interruptible) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(b)
}

// bare is the cause of an error of a path, without the path.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// printable makes text of a system fit for a report.
func printable(s string, most int) string {
	out := make([]rune, 0, len(s))
	size := 0
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			continue
		}
		if size += len(string(r)); size > most {
			break
		}
		out = append(out, r)
	}
	return string(out)
}
