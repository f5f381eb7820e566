//go:build !linux

package host_test

// envChild is what a child process is told by where users can be told apart.
const envChild = "WEFT_HOST_TEST_SOCKET"

func child(string) int { return 2 }
