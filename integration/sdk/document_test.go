package sdk_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const documentIntroduction = `# The Go SDKs

What cloudflare-go v0.119 (hand-written) and v6 (generated) can do with ` + "`weft control`" + `, made by ` + "`cd integration/sdk && go test . -update`" + `; the tests there
fail when it is not so, and when an SDK has a method or a filter that is in none of the tables.

A method stands here when a test had an answer of success to the request that the method itself made; a filter when a list changed
because that one parameter was taken away. ` + "`ListAutoPaging`" + ` and its like are the method that they call for each page. The methods of v6 are under
` + "`client`" + `, those of v0 are all of ` + "`*cloudflare.API`" + `, here by file.

- **Base URL**: v6 takes ` + "`option.WithBaseURL(\"https://HOST/client/v4\")`" + ` or ` + "`CLOUDFLARE_BASE_URL`" + `, v0 ` + "`cloudflare.BaseURL(...)`" + ` without a slash at its end.
- **What v6 has no fields for** goes by hand: ` + "`option.WithJSONSet`" + ` for a target's ` + "`tags`" + `, a profile's ` + "`virtual_networks`" + `, the ` + "`ssh`" + ` rules of a reusable policy,
  and all of a policy below an application but its precedence; ` + "`option.WithQuery`" + ` for ` + "`tag=`" + ` and ` + "`order=tag:KEY`" + ` of targets, and for the values of the access log's filters,
  of which v6 has only the operators.
- **Items of a list**: v6's ` + "`Gateway.Lists.Items.List`" + ` expects lists of lists and finds nothing; ` + "`Gateway.Lists.Get`" + ` has them. v0 and the Terraform providers read them as they are.
- **Whole lists**: v0 asks once, without a size, for routes: it gets up to 1000.
`

// document is docs/sdk.md.
func document(all []sdkMethod) string {
	var b strings.Builder
	b.WriteString(documentIntroduction)
	for _, sdk := range []struct{ name, title, group string }{{"v6", "cloudflare-go v6", "service"}, {"v0", "cloudflare-go v0", "file"}} {
		fmt.Fprintf(&b, "\n## %s\n\n| %s | methods | filters and pages | tests |\n|---|---|---|---|\n", sdk.title, sdk.group)
		var groups []string
		of := map[string][]sdkMethod{}
		for _, m := range all {
			if m.sdk == sdk.name && len(seen.methods[m.key]) > 0 {
				if of[m.group] == nil {
					groups = append(groups, m.group)
				}
				of[m.group] = append(of[m.group], m)
			}
		}
		for _, g := range groups {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", g, names(of[g]), effective(of[g]), strings.Join(cover(of[g]), ", "))
		}
	}
	b.WriteString("\n## Not driven\n\nA name stands for all that is below it.\n\n| v6: service or method | why |\n|---|---|\n")
	reasons(&b, notDriven, func(name string) bool { return name[0] >= 'A' && name[0] <= 'Z' })
	b.WriteString("\n| v0: file or method | why |\n|---|---|\n")
	reasons(&b, notDriven, func(name string) bool { return name[0] >= 'a' && name[0] <= 'z' })
	b.WriteString("\n## Filters that change nothing\n\n| parameter | why |\n|---|---|\n")
	reasons(&b, noEffect, func(string) bool { return true })
	return b.String()
}

func reasons(b *strings.Builder, table map[string]string, wanted func(string) bool) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if wanted(name) {
			fmt.Fprintf(b, "| `%s` | %s |\n", strings.TrimPrefix(name, "cloudflare."), table[name])
		}
	}
}

func names(methods []sdkMethod) string {
	var out []string
	for _, m := range methods {
		out = append(out, m.name)
	}
	return strings.Join(out, ", ")
}

// effective are the filters of some methods that have an effect.
func effective(methods []sdkMethod) string {
	out := map[string]bool{}
	for _, m := range methods {
		for _, f := range m.filters() {
			if len(seen.filters[f]) > 0 {
				out[strings.Join(strings.Split(f, ".")[2:], ".")] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(out)), ", ")
}

// cover are few tests that together drive some methods and their filters.
func cover(methods []sdkMethod) []string {
	left := map[string]map[string]bool{} // what is to be driven -> tests
	for _, m := range methods {
		left["method "+m.key] = seen.methods[m.key]
		for _, f := range m.filters() {
			if len(seen.filters[f]) > 0 {
				left["filter "+f] = seen.filters[f]
			}
		}
	}
	var chosen []string
	for len(left) > 0 {
		score := map[string]int{}
		for _, tests := range left {
			for t := range tests {
				score[t]++
			}
		}
		best := slices.MinFunc(slices.Collect(maps.Keys(score)), func(a, b string) int { return cmp.Or(score[b]-score[a], strings.Compare(a, b)) })
		chosen = append(chosen, "`"+best+"`")
		maps.DeleteFunc(left, func(_ string, tests map[string]bool) bool { return tests[best] })
	}
	slices.Sort(chosen)
	return chosen
}
