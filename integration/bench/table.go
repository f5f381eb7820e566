package main

import (
	"fmt"
	"slices"
	"strings"
)

// table gives the medians of the rounds and the median of the rounds' ratios.
func table(results map[string][]measures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | relay | weft | weft to relay |\n|---|---|---|---|\n")
	for _, name := range names {
		var relay, weft, ratio []float64
		for i := range results["weft"] {
			r, w := results["relay"][i][name], results["weft"][i][name]
			relay, weft = append(relay, r), append(weft, w)
			if r > 0 {
				ratio = append(ratio, w/r)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, spread(relay), spread(weft), number(median(ratio))+"x")
	}
	return b.String()
}

func spread(v []float64) string {
	if len(v) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", number(median(v)), number(slices.Min(v)), number(slices.Max(v)))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}
