package localsock

import "golang.org/x/sys/unix"

// peerCredentials reads LOCAL_PEERCRED: unix(4) of macOS.
func peerCredentials(fd int) (Caller, error) {
	x, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Caller{}, err
	}
	if x.Version != 0 || x.Uid == ^uint32(0) { // XUCRED_VERSION is 0
		return Caller{}, ErrUnknownPeer
	}
	c := Caller{UID: x.Uid}
	if x.Ngroups > 0 {
		c.GID = x.Groups[0]
	}
	if pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
		c.PID = pid
	}
	return c, nil
}

// servicePath is where the system's service listens.
func servicePath() string { return "/var/run/weft/warp.sock" }
