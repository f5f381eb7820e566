package recording_test

import "golang.org/x/sys/unix"

// mountSmall mounts a file system of one mebibyte, which needs root.
func mountSmall(dir string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m") }

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
