package targets

import "slices"

// Match reports whether f selects e: AND across its fields and attributes, OR
// within one; an empty field, or an attribute without values, selects everything.
func (f *Filter) Match(e *Entry) bool {
	for k, values := range f.Attributes {
		if len(values) > 0 && !e.Target.hasAttribute(k, values) {
			return false
		}
	}
	return f.matchVNET(e) && f.matchUsername(e) &&
		selects(f.Protocols, e.Protocol) && selects(f.Ports, e.Port) && selects(f.IDs, e.Target.ID)
}

func (f *Filter) matchVNET(e *Entry) bool {
	return len(f.VNETs) == 0 || slices.ContainsFunc(f.VNETs, e.Target.InVNET)
}

// matchUsername compares UNIX users exactly, as the target does.
func (f *Filter) matchUsername(e *Entry) bool {
	return len(f.Usernames) == 0 ||
		slices.ContainsFunc(f.Usernames, func(u string) bool { return slices.Contains(e.Usernames, u) })
}

func selects[T comparable](wanted []T, v T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, v)
}
