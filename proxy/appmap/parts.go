package appmap

import (
	"slices"

	"github.com/matron-epr/matron/proxy"
)

// setParts says what one exchange does. Where the parts differ, action or area
// is left empty, which no policy allows, so that every part must be decided.
func setParts(a *proxy.Access, parts []proxy.Part) {
	var distinct []proxy.Part
	for _, p := range parts {
		if !slices.Contains(distinct, p) {
			distinct = append(distinct, p)
		}
	}
	if len(distinct) == 0 {
		return
	}
	a.Action, a.Area, a.Resource = distinct[0].Action, distinct[0].Area, distinct[0].Resource
	for _, p := range distinct[1:] {
		if p.Action != a.Action {
			a.Action = ""
		}
		if p.Area != a.Area {
			a.Area = ""
		}
		if p.Resource != a.Resource {
			a.Resource = "Bundle"
		}
	}
	if len(distinct) > 1 {
		a.Parts = distinct
	}
}

// partsOf is what an exchange does, one part at least.
func partsOf(a *proxy.Access) []proxy.Part {
	if len(a.Parts) == 0 {
		return []proxy.Part{{Action: a.Action, Area: a.Area, Resource: a.Resource}}
	}
	return slices.Clone(a.Parts)
}

// decided reports whether an area is among those that the policy was asked about.
func decided(a *proxy.Access, area string) bool {
	if area == "" {
		return false
	}
	if string(a.Area) == area {
		return true
	}
	return slices.ContainsFunc(a.Parts, func(p proxy.Part) bool { return string(p.Area) == area })
}
