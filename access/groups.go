package access

import (
	"fmt"
	"strings"

	"weft/internal/kind"
)

// MaxGroupDepth is how deeply rule groups may refer to each other: a group that
// refers to none has depth 1.
const MaxGroupDepth = 8

// CheckGroups checks what rule groups refer to: unique IDs (kind.Conflict), no
// cycle and at most MaxGroupDepth (kind.Invalid). A reference to a group that is
// not there is no error here: it never matches, and denies where it excludes.
func CheckGroups(groups []RuleGroup) error {
	_, err := orderGroups(groups)
	return err
}

// orderGroups returns the indexes of groups so that each stands behind those it
// refers to.
func orderGroups(groups []RuleGroup) ([]int, error) {
	byID := make(map[string]int, len(groups))
	for i := range groups {
		if other, taken := byID[groups[i].ID]; taken {
			return nil, kind.New(kind.Conflict, "rule groups %q and %q have the same ID %s", groups[other].Name, groups[i].Name, clip(groups[i].ID))
		}
		byID[groups[i].ID] = i
	}
	o := ordering{groups: groups, byID: byID, depth: make([]int, len(groups)), order: make([]int, 0, len(groups))}
	for i := range groups {
		if err := o.visit(i); err != nil {
			return nil, err
		}
	}
	return o.order, nil
}

// ordering is a depth-first walk over references.
type ordering struct {
	groups []RuleGroup
	byID   map[string]int
	path   []int // the groups that the walk is in
	depth  []int // of the finished ones; 0 is not finished
	order  []int
}

func (o *ordering) visit(i int) error {
	if o.depth[i] > 0 {
		return nil
	}
	for at, p := range o.path {
		if p == i {
			return kind.New(kind.Invalid, "rule groups refer to each other in a circle: %s", o.names(append(o.path[at:], i)))
		}
	}
	if len(o.path) == MaxGroupDepth {
		return o.tooDeep(append(o.path, i))
	}
	o.path = append(o.path, i)
	deepest := 0
	g := &o.groups[i]
	for _, rules := range [...][]Rule{g.Include, g.Require, g.Exclude} {
		for _, r := range rules {
			id, refers := r.GroupID()
			j, known := o.byID[id]
			if !refers || !known {
				continue
			}
			if err := o.visit(j); err != nil {
				return err
			}
			deepest = max(deepest, o.depth[j])
		}
	}
	o.path = o.path[:len(o.path)-1]
	if deepest == MaxGroupDepth {
		return o.tooDeep([]int{i})
	}
	o.depth[i] = deepest + 1
	o.order = append(o.order, i)
	return nil
}

func (o *ordering) tooDeep(path []int) error {
	return kind.New(kind.Invalid, "rule groups may refer to each other %d deep; this is deeper: %s", MaxGroupDepth, o.names(path))
}

func (o *ordering) names(path []int) string {
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = fmt.Sprintf("%q", clip(o.groups[p].Name))
	}
	return strings.Join(names, " > ")
}
