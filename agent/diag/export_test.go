package diag

import (
	"bufio"
	"net/netip"
	"strings"
)

// ParseResolvConfForTest reads the text of a resolv.conf.
func ParseResolvConfForTest(text string) []netip.Addr {
	return parseResolvConf(bufio.NewScanner(strings.NewReader(text)))
}
