//go:build !unix

package recording

// syncDir is nothing here: directories cannot be opened to be synced.
func syncDir(string) error { return nil }
