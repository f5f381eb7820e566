package localsock

import "golang.org/x/sys/unix"

// peerCredentials reads SO_PEERCRED: unix(7).
func peerCredentials(fd int) (Caller, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Caller{}, err
	}
	// A process that cannot be mapped into our user namespace appears as
	// (uid_t)-1; the kernel gives the same when there are no credentials.
	if u.Uid == ^uint32(0) {
		return Caller{}, ErrUnknownPeer
	}
	return Caller{UID: u.Uid, GID: u.Gid, PID: int(u.Pid)}, nil
}

// servicePath is where the system's service listens.
func servicePath() string { return "/run/weft/warp.sock" }
