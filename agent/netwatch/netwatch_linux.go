package netwatch

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// subscribe joins the rtnetlink groups of links, addresses and routes (rtnetlink(7));
// that needs no privilege. The channel holds one token.
func subscribe(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("join netlink groups: %w", err), unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), "netlink") // non-blocking: it takes part in the runtime's poller
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	events := make(chan struct{}, 1)
	go func() {
		defer stop()
		defer func() { _ = f.Close() }()
		b := make([]byte, 8192)
		for ctx.Err() == nil {
			// What an event says does not matter. ENOBUFS means that some were lost: an event, too.
			if _, err := f.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}()
	return events, nil
}
