package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// errReadOnly is a configuration that something else writes.
var errReadOnly = errors.New("it is read-only")

// sshPaths are the files of ssh-config.
type sshPaths struct {
	dir                           string // ~/.ssh
	config                        string // ~/.ssh/config
	folder                        string // ~/.ssh/weft
	generated, known, authorities string // in it; the last two as ssh is to read them
	knownFile, authoritiesFile    string // the same as paths
	include                       string // the line in config
}

// maxSSHConfig bounds a configuration that is read.
const maxSSHConfig = 8 << 20

// newSSHPaths: own says that ssh's "~" is home.
func newSSHPaths(home string, own bool) sshPaths {
	p := sshPaths{dir: filepath.Join(home, ".ssh")}
	p.config = filepath.Join(p.dir, "config")
	p.folder = filepath.Join(p.dir, "weft")
	p.generated = filepath.Join(p.folder, "config")
	p.knownFile, p.authoritiesFile = filepath.Join(p.folder, "known_hosts"), filepath.Join(p.folder, "authorities")
	if own {
		p.include = "Include weft/config"
		p.known, p.authorities = "~/.ssh/weft/known_hosts", "~/.ssh/weft/authorities"
		return p
	}
	p.include = `Include "` + p.generated + `"`
	p.known = `"` + strings.ReplaceAll(p.knownFile, "%", "%%") + `"`
	p.authorities = `"` + strings.ReplaceAll(p.authoritiesFile, "%", "%%") + `"`
	return p
}

// writable reports whether ssh_config(5) can hold a path between quotes, and glob(3), to which Include gives its
// argument, takes it for itself.
func writable(path string) bool { return !strings.ContainsAny(path, "\"\\*?[\r\n") }

// Marks in the generated file say what --uninstall has to take back.
const (
	markConfig = "# made: config\n"
	markDir    = "# made: folder\n"
)

// install writes everything; changed says whether anything was not so before. What fails leaves nothing behind.
func (p *sshPaths) install(generated, authorities string) (changed bool, err error) {
	data, target, mode, err := p.readConfig()
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return false, err
	}
	next, err := p.withInclude(data)
	if err != nil {
		return false, err
	}
	same := !missing && bytes.Equal(next, data)
	if !same && !missing && mode&0o200 == 0 {
		return false, fmt.Errorf("%s cannot be changed: %w", target, errReadOnly)
	}
	madeDir, err := p.makeDir()
	if err != nil {
		return false, err
	}
	old, err := p.readGenerated()
	if err != nil {
		return false, err
	}
	for _, m := range []struct {
		mark string
		made bool
	}{{markConfig, missing}, {markDir, madeDir}} {
		if m.made || strings.Contains(old, m.mark) {
			generated += m.mark
		}
	}
	// First what is included: an Include of nothing is no error for ssh, but does nothing.
	changed, err = p.writeFolder(generated, authorities)
	if err == nil && !same {
		changed, err = true, replaceConfig(target, next, mode)
	}
	if err != nil && old == "" {
		p.removeFolder(madeDir)
	}
	return changed, err
}

// writeFolder writes the files of our own.
func (p *sshPaths) writeFolder(generated, authorities string) (changed bool, err error) {
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return false, fmt.Errorf("make %s: %w", p.folder, err)
	}
	one, err := replaceIfOther(p.authoritiesFile, authorities)
	if err != nil {
		return one, err
	}
	two, err := replaceIfOther(p.generated, generated)
	return one || two, err
}

// removeFolder takes back what an install that failed has made.
func (p *sshPaths) removeFolder(dirToo bool) {
	for _, path := range []string{p.generated, p.authoritiesFile, p.folder} {
		_ = os.Remove(path) // the failure before is what is told
	}
	if dirToo {
		_ = os.Remove(p.dir)
	}
}

// uninstall takes everything back; what was accepted in known_hosts goes too.
func (p *sshPaths) uninstall() (changed bool, err error) {
	old, err := p.readGenerated()
	if err != nil {
		return false, err
	}
	data, target, mode, err := p.readConfig()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	default:
		next := p.withoutInclude(data)
		switch {
		case len(next) == 0 && strings.Contains(old, markConfig) && target == p.config:
			changed, err = true, os.Remove(p.config)
		case !bytes.Equal(next, data):
			changed, err = true, replaceConfig(target, next, mode)
		}
		if err != nil {
			return false, err
		}
	}
	if _, err := os.Lstat(p.folder); err == nil {
		changed = true
	}
	for _, path := range append(p.authorityFiles(), p.generated, p.authoritiesFile, p.knownFile, p.knownFile+".old", p.folder) {
		// The folder stays when something else is in it.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && path != p.folder {
			return changed, fmt.Errorf("remove %s: %w", path, err)
		}
	}
	if strings.Contains(old, markDir) {
		_ = os.Remove(p.dir) // unless it holds something by now
	}
	return changed, nil
}

// installed reports whether ssh reads the generated file.
func (p *sshPaths) installed() (bool, error) {
	data, _, _, err := p.readConfig()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	old, err := p.readGenerated()
	return old != "" && !bytes.Equal(p.withoutInclude(data), data), err
}

// refresh rewrites what the agent knows better by now, in files that are installed; it makes none.
func (p *sshPaths) refresh(generated, authorities string) error {
	old, err := p.readGenerated()
	// Files that were made for another home, as sudo may have it, are left to those whose they are.
	if err != nil || !strings.Contains(old, "\n  UserKnownHostsFile "+p.known+" ") {
		return err
	}
	for _, mark := range []string{markConfig, markDir} {
		if strings.Contains(old, mark) {
			generated += mark
		}
	}
	if _, err := replaceIfOther(p.authoritiesFile, authorities); err != nil {
		return err
	}
	_, err = replaceIfOther(p.generated, generated)
	return err
}

// knownVNETs are the networks that the generated file tells of.
func (p *sshPaths) knownVNETs() []string {
	text, err := p.readGenerated()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, vnetsPrefix); ok {
			return strings.Fields(s)
		}
	}
	return nil
}

func (p *sshPaths) makeDir() (made bool, err error) {
	fi, err := os.Stat(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return false, fmt.Errorf("make %s: %w", p.dir, err)
		}
		return true, nil
	case err != nil:
		return false, err
	case !fi.IsDir():
		return false, fmt.Errorf("%s is no folder", p.dir)
	}
	return false, nil
}

// readConfig returns the configuration, the file that really holds it (a symbolic link is followed, and stays), and its mode.
func (p *sshPaths) readConfig() (data []byte, target string, mode fs.FileMode, err error) {
	target, mode = p.config, 0o600
	if fi, lerr := os.Lstat(p.config); lerr == nil && fi.Mode()&fs.ModeSymlink != 0 {
		if target, err = filepath.EvalSymlinks(p.config); err != nil {
			return nil, p.config, mode, fmt.Errorf("%s is a link that leads nowhere: %w", p.config, errReadOnly)
		}
	}
	fi, err := os.Stat(target)
	if err != nil {
		return nil, target, mode, err
	}
	if !fi.Mode().IsRegular() {
		return nil, target, mode, fmt.Errorf("%s is no ordinary file: %w", target, errReadOnly)
	}
	if fi.Size() > maxSSHConfig {
		return nil, target, mode, fmt.Errorf("%s is larger than %d bytes", target, maxSSHConfig)
	}
	data, err = os.ReadFile(target)
	return data, target, fi.Mode().Perm(), err
}

func (p *sshPaths) readGenerated() (string, error) {
	b, err := os.ReadFile(p.generated)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

var utf8BOM = []byte("\xef\xbb\xbf")

// withInclude puts the line first, once, with the line end that the file uses.
func (p *sshPaths) withInclude(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, utf8BOM) {
		return nil, errors.New("the file begins with a byte order mark, which ssh does not understand; save it without")
	}
	if line, _, _ := bytes.Cut(data, []byte("\n")); p.isInclude(line) {
		return data, nil
	}
	end := "\n"
	if i := bytes.IndexByte(data, '\n'); i > 0 && data[i-1] == '\r' {
		end = "\r\n"
	}
	return append([]byte(p.include+end), p.withoutInclude(data)...), nil
}

// withoutInclude takes the line out wherever it stands; all else stays to the byte.
func (p *sshPaths) withoutInclude(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for line := range bytes.Lines(data) {
		if !p.isInclude(line) {
			out = append(out, line...)
		}
	}
	return out
}

// isInclude reports whether a line is the one that includes the generated file, in either of its forms.
func (p *sshPaths) isInclude(line []byte) bool {
	key, value := splitOption(strings.TrimRight(string(line), " \t\r\n"))
	if key != "include" {
		return false
	}
	_, ours := splitOption(p.include)
	return value == ours || value == "weft/config" || value == "~/.ssh/weft/config" || value == p.generated
}

// replaceConfig writes a configuration that is the user's.
func replaceConfig(path string, data []byte, mode fs.FileMode) error {
	if fi, err := os.Stat(path); err == nil && fi.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("%s cannot be changed: %w", path, errReadOnly)
	}
	err := replaceFile(path, data, mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s cannot be changed: %w: %w", path, errReadOnly, err)
	}
	return err
}

// replaceIfOther writes a file of our own when it does not hold text already.
func replaceIfOther(path, text string) (wrote bool, err error) {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, replaceFile(path, []byte(text), 0o600)
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".weft-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), mode); err != nil {
		return err
	}
	if err := keepOwner(path, f.Name()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
