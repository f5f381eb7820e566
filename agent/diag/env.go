package diag

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// Env is what the checks see of the system. A nil function means the real thing.
type Env struct {
	Now        func() time.Time
	Getenv     func(string) string
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy says which proxy a request takes.
	Proxy      func(*http.Request) (*url.URL, error)
	Interfaces func() ([]Interface, error)
	// Resolvers are the name servers that the system uses.
	Resolvers func() ([]netip.Addr, error)
	// Files are the open descriptors of this process and their limit.
	Files func() (open, limit uint64, err error)
	// FreeDisk is the space for this user where dir is, FreeMemory that of the machine, in bytes.
	FreeDisk   func(dir string) (uint64, error)
	FreeMemory func() (uint64, error)
}

// Interface is a network interface.
type Interface struct {
	Name     string
	Up       bool
	Loopback bool
	Prefixes []netip.Prefix // with the interface's own address
}

func (e Env) withDefaults() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Getenv == nil {
		e.Getenv = os.Getenv
	}
	if e.LookupHost == nil {
		e.LookupHost = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if e.Dial == nil {
		e.Dial = (&net.Dialer{}).DialContext
	}
	if e.Proxy == nil {
		e.Proxy = http.ProxyFromEnvironment
	}
	if e.Interfaces == nil {
		e.Interfaces = systemInterfaces
	}
	if e.Resolvers == nil {
		e.Resolvers = systemResolvers
	}
	if e.Files == nil {
		e.Files = systemFiles
	}
	if e.FreeDisk == nil {
		e.FreeDisk = systemFreeDisk
	}
	if e.FreeMemory == nil {
		e.FreeMemory = systemFreeMemory
	}
	return e
}

func systemInterfaces() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make([]Interface, 0, len(list))
	for _, i := range list {
		x := Interface{Name: i.Name, Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if bits, _ := n.Mask.Size(); ok {
				x.Prefixes = append(x.Prefixes, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// resolvConf is where Unix systems name their resolvers (resolv.conf(5)).
const resolvConf = "/etc/resolv.conf"

func systemResolvers() ([]netip.Addr, error) {
	f, err := os.Open(resolvConf)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	return parseResolvConf(bufio.NewScanner(f)), nil
}

// parseResolvConf reads the nameserver lines, as many as a resolver takes and some more.
func parseResolvConf(lines *bufio.Scanner) []netip.Addr {
	var out []netip.Addr
	for lines.Scan() && len(out) < 16 {
		word := strings.Fields(lines.Text())
		if len(word) < 2 || word[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(word[1]); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}
