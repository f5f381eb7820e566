// Command pack makes the parts of a release that need no other tool: manual pages, archives,
// container images, bills of materials, manifests and checksums. packaging/build calls it.
// Everything depends on its input and SOURCE_DATE_EPOCH only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"
)

// commands are what pack can do.
var commands = map[string]func(ctx context.Context, at time.Time, args []string) error{
	"man":         makeManPage,
	"archive":     makeArchive,
	"oci":         makeImage,
	"oci-check":   checkImage,
	"sbom":        makeSBOM,
	"manifests":   makeManifests,
	"sums":        makeSums,
	"product-id":  productID,
	"msi-summary": fixSummary,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("usage: pack man|archive|oci|oci-check|sbom|manifests|sums|product-id|msi-summary [flags]")
	}
	at, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	if err := commands[args[0]](ctx, at, args[1:]); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// sourceDate reads SOURCE_DATE_EPOCH, which must be set: https://reproducible-builds.org/specs/source-date-epoch/.
func sourceDate(s string) (time.Time, error) {
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil || sec < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, no number of seconds", s)
	}
	return time.Unix(sec, 0).UTC(), nil
}

// parse reads flags; every one that has no default must be given.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		if f.Value.String() == "" {
			err = errors.Join(err, fmt.Errorf("-%s is missing", f.Name))
		}
	})
	return err
}
