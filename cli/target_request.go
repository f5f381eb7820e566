package cli

import (
	"fmt"
	"runtime"

	"weft/agent/localapi/client"
)

// showRequests writes on stderr the calls that are about to be made as command lines of curl.
func (a *app) showRequests(c *client.Client, paths []string) error {
	for _, path := range paths {
		line, err := curlLine(runtime.GOOS, c.Socket(), path)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.cfg.Stderr, line)
	}
	return nil
}

// curlLine is a GET of the local API as a command line. curl knows no named pipes, so that
// on Windows it is the request itself that is shown.
func curlLine(goos, socket, path string) (string, error) {
	if goos == "windows" {
		return "GET " + path + " HTTP/1.1 (Host: localhost) on " + socket, nil
	}
	quoted, err := quoteFor(goos, socket)
	if err != nil {
		return "", err
	}
	url, err := quoteFor(goos, "http://localhost"+path)
	if err != nil {
		return "", err
	}
	return "curl --silent --show-error --no-buffer --unix-socket " + quoted + " " + url, nil
}
