//go:build unix

package localsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPathBytes is the shortest sun_path of the systems we build for (macOS: 104
// with the terminating zero; unix(4)).
const maxPathBytes = 103

// peer is the identity taken when the connection was made.
type peer struct{ id Caller }

func (p peer) caller(net.Conn) (Caller, error) { return p.id, nil }

func self() (Caller, error) {
	uid := os.Geteuid()
	return Caller{
		UID: uint32(uid), GID: uint32(os.Getegid()), PID: os.Getpid(), Privileged: uid == 0,
	}, nil
}

func identify(nc net.Conn) (peer, error) {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return peer{}, ErrUnknownPeer
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	var id Caller
	var credErr error
	if err := raw.Control(func(fd uintptr) { id, credErr = peerCredentials(int(fd)) }); err != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	if credErr != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", errors.Join(ErrUnknownPeer, credErr))
	}
	id.Privileged = id.UID == 0
	return peer{id: id}, nil
}

// checkServer refuses a server of another ordinary user. On a Unix socket the
// credentials a client sees are those of the process that called listen(2).
func checkServer(nc net.Conn) (peer, error) {
	p, err := identify(nc)
	if err != nil {
		return peer{}, err
	}
	me, err := self()
	if err != nil {
		return peer{}, err
	}
	if !mayTalk(p.id, me) {
		return peer{}, fmt.Errorf("the process there belongs to %s: %w", p.id, ErrUnsafe)
	}
	return p, nil
}

func listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxPathBytes {
		return nil, fmt.Errorf("the path has %d bytes, more than the system's limit of %d", len(path), maxPathBytes)
	}
	dir := filepath.Dir(path)
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o600)
	if os.Geteuid() == 0 {
		mode = 0o666
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// prepareDir makes dir if it is missing and refuses one that another user
// could rename our socket in. The sticky bit keeps others from it, but not the
// directory's owner.
func prepareDir(dir string) error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755 // others must reach the service's socket
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("read the owner of %s: %w", dir, errors.ErrUnsupported)
	}
	sticky := fi.Mode()&fs.ModeSticky != 0
	owned := int(st.Uid) == os.Geteuid() || st.Uid == 0
	writable := fi.Mode().Perm()&0o022 != 0
	if !owned || writable && !sticky {
		return fmt.Errorf("directory %s (owner uid %d, mode %04o): %w", dir, st.Uid, fi.Mode().Perm(), ErrUnsafe)
	}
	return nil
}

// lockDir keeps two starting processes from removing each other's socket: the
// lock is on the directory itself, so that no lock file stays behind.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(2 * probeTimeout)
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing gives the lock up
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("lock directory %s: %w", dir, err), f.Close())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// removeStale removes a socket at which nobody answers.
func removeStale(ctx context.Context, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return ErrNotSocket
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	nc, err := dial(ctx, path)
	switch {
	case err == nil:
		return errors.Join(ErrInUse, nc.Close())
	case errors.Is(err, ErrNobody):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		// Full backlog, no permission, no answer in time: somebody may live there.
		return fmt.Errorf("%w (%w)", ErrInUse, err)
	}
}

// checkPath refuses a socket at a place where another ordinary user could have put it: before anything is sent, and
// before connect(2) tells that user that somebody came. A path that does not exist is for connect to complain about. A
// privileged caller may go anywhere: that is how administrators reach the agents of users.
//
// The socket itself and its directory must be root's or this user's, and the directory closed to others or sticky.
// Above it nothing may be open to everybody unless it is sticky: what another user could move there would still have to
// belong to us. What answers is checked once more by checkServer.
func checkPath(path string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	place, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil //nolint:nilerr // connect says it better
	}
	if place, err = filepath.Abs(place); err != nil {
		return fmt.Errorf("name the socket: %w", err)
	}
	if err := checkPlace(place, 0); err != nil {
		return err
	}
	dir := filepath.Dir(place)
	if err := checkPlace(dir, 0o022); err != nil {
		return err
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		fi, err := os.Lstat(dir)
		if err != nil {
			return nil //nolint:nilerr // connect says it better
		}
		if fi.Mode().Perm()&0o002 != 0 && fi.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("directory %s is open to everybody (mode %04o): %w", dir, fi.Mode().Perm(), ErrUnsafe)
		}
	}
	return nil
}

// checkPlace refuses what is neither root's nor this user's, or has one of the bits open without the sticky bit.
func checkPlace(path string, open fs.FileMode) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("read the owner of %s: %w", path, errors.ErrUnsupported)
	}
	owned := st.Uid == 0 || int(st.Uid) == os.Geteuid()
	if !owned || fi.Mode().Perm()&open != 0 && fi.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s (owner uid %d, mode %04o): %w", path, st.Uid, fi.Mode().Perm(), ErrUnsafe)
	}
	return nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w (%w)", ErrNobody, err)
	}
	return nc, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func userPath(me Caller) string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "weft", "warp.sock")
	}
	return filepath.Join(os.TempDir(), "weft-"+strconv.FormatUint(uint64(me.UID), 10), "warp.sock")
}
