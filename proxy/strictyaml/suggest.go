package strictyaml

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// suggestion proposes the nearest known name, or lists them when none is near.
func suggestion(key string, known map[string]int) string {
	names := slices.Sorted(maps.Keys(known))
	if near := Nearest(key, names); near != "" {
		return fmt.Sprintf(". Did you mean %s?", near)
	}
	return ". Known here: " + strings.Join(names, ", ")
}

// Nearest returns the name that word most likely means, or "" when none is near.
func Nearest(word string, names []string) string {
	best, distance := "", max(2, len(word)/3)+1
	for _, name := range names {
		if strings.HasPrefix(word, name) || strings.HasPrefix(name, word) {
			return name
		}
		if d := edits(strings.ToLower(word), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
