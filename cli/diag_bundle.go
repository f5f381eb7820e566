package cli

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"weft/agent/diag/redact"
	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/internal/kind"
)

// maxBundleFiles bounds what an agent may give.
const maxBundleFiles = 32

// writeBundle writes what the agent gives and what this program found to a new file that only this user can read.
func (a *app) writeBundle(ctx context.Context, o diagOptions, r *localapi.DiagReport) error {
	b := &localapi.Bundle{}
	got, err := a.client().DiagBundle(ctx, o.anonymize)
	switch {
	case err == nil:
		b = got
	case isUnreached(err):
		a.note("the agent does not answer, so the bundle holds only what warp-cli found")
	default:
		return err
	}
	scrub := redact.New(o.anonymize)
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		scrub.Name("user", a.cfg.Getenv(name))
	}
	if host, err := os.Hostname(); err == nil {
		scrub.Name("host", host)
	}
	var own []localapi.DiagCheck
	for _, c := range r.Checks {
		if isOwnCheck(c.Code) {
			own = append(own, c)
		}
	}
	text, err := json.MarshalIndent(struct {
		Version string               `json:"version"`
		Checks  []localapi.DiagCheck `json:"checks"`
	}{a.cfg.Version, own}, "", "  ")
	if err != nil {
		return fmt.Errorf("render checks: %w", err)
	}
	files := append(b.Files[:min(len(b.Files), maxBundleFiles)], localapi.BundleFile{Name: "warp-cli.json", Text: string(text) + "\n"})
	for i := range files {
		// Once more: the agent may be of an older version that knows less of what a secret looks like.
		files[i].Text = scrub.Text(files[i].Text)
	}
	return writeZIP(o.bundle, files)
}

// isUnreached reports whether no agent gave an answer.
func isUnreached(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && (e.Status == 0 || e.Code == localapi.CodePermission)
}

// writeZIP makes a file that is not there yet; what cannot be written whole is removed.
func writeZIP(name string, files []localapi.BundleFile) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &client.Error{Code: string(kind.Conflict), Message: name + " exists already", Hint: "name a file that does not exist yet", Err: err}
	}
	if err != nil {
		return &client.Error{Code: string(kind.Invalid), Message: fmt.Sprintf("the bundle cannot be written: %v", err), Hint: "name a file in a directory that you may write", Err: err}
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("write bundle: %w", errors.Join(err, os.Remove(name)))
		}
	}()
	z := zip.NewWriter(f)
	for _, file := range files {
		h := &zip.FileHeader{Name: path.Base(path.Clean("/" + file.Name)), Method: zip.Deflate, Modified: time.Now()}
		h.SetMode(0o600)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(file.Text)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Sync()
}
