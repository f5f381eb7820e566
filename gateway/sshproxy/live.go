package sshproxy

// Live is a session whose client has been let in, for whoever watches over it. It may be used when the session is over, and
// does nothing then. Safe for concurrent use.
type Live struct{ x *session }

// Bytes is how many have gone over its channels, both ways. Keepalives and other messages of the protocol are not among them.
func (l Live) Bytes() uint64 { return l.x.bytesUp.Load() + l.x.bytesDown.Load() }

// Tell shows a line on the terminals of the session: on standard error of each channel that has one, where it is not part of
// what the program there writes. It does not wait; a client that does not read is told nothing more before it has read that.
func (l Live) Tell(text string) {
	text = line("%s", text)
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if l.x.over {
		return
	}
	for c := range l.x.channels {
		if !c.pty.Load() || !c.telling.CompareAndSwap(false, true) {
			continue
		}
		l.x.wg.Go(func() {
			defer c.telling.Store(false)
			c.say(text)
		})
	}
}
