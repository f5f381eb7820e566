package host

import "net"

// MayUseProxyForTest opens mayUseProxy for the current profile of an account whose session runs.
func (h *Host) MayUseProxyForTest(c net.Conn, account string) error {
	h.mu.Lock()
	s := h.sessions[sessionKey{account, firstDir}]
	h.mu.Unlock()
	return h.mayUseProxy(c, s)
}
