// Command bench measures Weft from end to end on one machine: a load generator
// speaks SOCKS5 to a real agent, whose tunnel leads to a real gateway and
// connector, which open connections to targets in this process. Beside it, in the same run
// and interleaved, stands a bare SOCKS5 relay: what that hop costs without a
// tunnel. The figures of one machine say little; the ratios are what counts.
//
//	go run ./integration/bench [-rounds 3] [-seconds 3] [-json]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// The relay runs as a process of its own, as the agent does.
	if os.Getenv(relayEnv) != "" {
		_, _ = fmt.Fprintln(os.Stderr, relayMain())
		os.Exit(1)
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	rounds := fs.Int("rounds", 3, "rounds; the table gives medians")
	length := fs.Float64("seconds", 3, "length of each measurement")
	asJSON := fs.Bool("json", false, "print every round as JSON instead of a table")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if *rounds < 1 || *length <= 0 {
		_, _ = fmt.Fprintln(stderr, "bench: rounds and seconds must be positive")
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := compare(ctx, *rounds, time.Duration(*length*float64(time.Second)), stderr)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(results)
	} else {
		_, err = io.WriteString(stdout, table(results))
	}
	if err != nil {
		return 1
	}
	return 0
}

// compare runs the rounds, interleaved: relay, weft, relay, weft.
func compare(ctx context.Context, rounds int, length time.Duration, progress io.Writer) (map[string][]measures, error) {
	s, err := newStage(ctx)
	if err != nil {
		return nil, err
	}
	results := map[string][]measures{}
	for round := range rounds {
		for _, way := range s.ways() {
			_, _ = fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, rounds, way.name)
			m, err := s.measure(ctx, way, length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, s.end(err))
			}
			results[way.name] = append(results[way.name], m)
		}
	}
	return results, s.end(nil)
}
