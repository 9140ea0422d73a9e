package workbook

import (
	"regexp"
	"slices"
	"strings"
)

// Several things in one cell stand under each other, a line each. A line that goes
// on with the one before begins with two spaces.
const goesOn = "\n  "

func inLines(items []string) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = strings.ReplaceAll(clean(item), "\n", goesOn)
	}
	return strings.Join(lines, "\n")
}

// ofLines reads what inLines wrote.
func ofLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(text, goesOn, "\x00"), "\n")
}

func joined(lines []string) []string {
	var out []string
	for _, line := range lines {
		if line = clean(strings.ReplaceAll(line, "\x00", "\n")); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// items are the things in a cell of anybody's: each line, once one of them is
// numbered or has a bullet, else all of it.
func items(text string) []string {
	lines := joined(strings.Split(text, "\n"))
	if !slices.ContainsFunc(lines, bullet.MatchString) {
		return joined([]string{text})
	}
	var out []string
	for _, line := range lines {
		rest := bullet.ReplaceAllString(line, "")
		if rest == line && len(out) > 0 { // goes on
			out[len(out)-1] += "\n" + line
			continue
		}
		out = append(out, rest)
	}
	return joined(out)
}

var bullet = regexp.MustCompile(`^\s*(?:[-–•*▪●·]|\(?[0-9]{1,2}[.)]|\(?[a-z][.)])\s+`)

// clean is text with one kind of line break and nothing around it.
func clean(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"))
}

// folded is text for comparing words: one space between them, lower case.
func folded(text string) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(text, "\u00a0", " ")), " "))
}

// kept is what a subject says after a cell was read: what it said, unless the cell
// says something else than it did when it was written.
func kept(old, cell string) string {
	if clean(old) == clean(cell) {
		return old
	}
	return clean(cell)
}

func keptList(old, cell []string) []string {
	if slices.EqualFunc(old, cell, func(a, b string) bool { return clean(a) == clean(b) }) {
		return old
	}
	return cell
}
