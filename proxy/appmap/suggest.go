package appmap

import (
	"maps"
	"slices"

	"github.com/matron-epr/matron/proxy/strictyaml"
)

// didYouMean ends a message about a word that is none of names.
func didYouMean(word string, names []string) string {
	if near := strictyaml.Nearest(word, names); near != "" {
		return ". Did you mean " + near + "?"
	}
	slices.Sort(names)
	list := ""
	for i, n := range names {
		if i > 0 {
			list += ", "
		}
		list += n
	}
	if list == "" {
		return ""
	}
	return ". Known here: " + list
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// appendNew appends s unless it is there already.
func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
