package learn

import (
	_ "embed" // the words
	"strconv"
	"strings"
	"unicode"
)

//go:embed words.txt
var wordList string

// words are those that applications have in their addresses. Nothing else of an
// address is ever shown: a word that nobody knows may be somebody's name.
type words struct {
	known map[string]bool
	// names are known words that are people's names too: they are not shown where a
	// name would stand.
	names map[string]bool
	// whole are texts that may be shown although their parts are not known.
	whole map[string]bool
}

// newWords reads the built-in list. more are texts that an operator vouches for.
func newWords(more []string) *words {
	w := &words{known: map[string]bool{}, names: map[string]bool{}, whole: map[string]bool{}}
	for line := range strings.Lines(wordList) {
		line, _, _ = strings.Cut(line, "#")
		for word := range strings.FieldsSeq(line) {
			name, both := strings.CutSuffix(word, "?")
			w.known[name], w.names[name] = true, both
		}
	}
	for _, text := range more {
		w.whole[text] = true
	}
	return w
}

// segment is one part of a path pattern: a literal, or a place where values stand.
type segment struct {
	literal string
	class   string
	name    string // of the place
	kind    kind
}

// kind says why a segment is no literal.
type kind int

const (
	literal kind = iota
	number
	identifier // of some other form
	redacted   // the record already has something in its place
	word       // it may be a word of the application, or a name
)

func (s *segment) variable() bool { return s.kind != literal }

// text is the segment as a map has it.
func (s *segment) text() string {
	switch {
	case !s.variable():
		return s.literal
	case s.class == "":
		return "{" + s.name + "}"
	}
	return "{" + s.name + ":" + s.class + "}"
}

// segment says what a part of a path is, after the one before it.
func (w *words) segment(text string, before segment) segment {
	s := segment{kind: identifier, class: classOf(text), name: "id"}
	switch {
	case text == "":
		s.kind, s.name = word, "word"
	case s.class == "number":
		s.kind = number
	case s.class != "":
	case isRedacted(text):
		s.kind = redacted
	case w.shown(text, before.kind == word || before.kind == literal && w.person(before.literal)):
		return segment{literal: text}
	case !strings.ContainsFunc(text, unicode.IsDigit) && !strings.ContainsAny(text, "@%"):
		s.kind, s.name = word, "word"
	}
	if n := w.thing(before); n != "" && s.kind != word {
		s.name = n
	}
	return s
}

// shown reports whether a text is made of known words only. aside says that a name
// may stand here.
func (w *words) shown(text string, aside bool) bool {
	if w.whole[text] && (!aside || !w.names[strings.ToLower(text)]) {
		return true
	}
	parts := tokens(text)
	before := ""
	for _, p := range parts {
		switch {
		case only(p, "0123456789"):
			if len(p) > 2 || !versioned(before) {
				return false
			}
		case !w.known[p] || aside && w.names[p]:
			return false
		}
		before = p
	}
	return len(parts) > 0
}

// versioned are words after which a number of at most two digits is part of the
// name.
func versioned(word string) bool {
	switch word {
	case "v", "r", "fhir", "oauth", "version", "stu":
		return true
	}
	return false
}

// parameter reports whether the name of a parameter may be shown.
func (w *words) parameter(name string, valued bool) bool {
	return name == "_" || len(name) <= 64 && w.shown(name, !valued)
}

// tokens cuts a text at everything but letters and digits, between letters and
// digits, and before the humps of camelCase. They are in lower case.
func tokens(text string) []string {
	var all []string
	var b strings.Builder
	cut := func() {
		if b.Len() > 0 {
			all = append(all, strings.ToLower(b.String()))
			b.Reset()
		}
	}
	runes := []rune(text)
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			if !strings.ContainsRune("_-.$[]~:", r) {
				return nil // no word of an address
			}
			cut()
			continue
		}
		if i > 0 {
			was := runes[i-1]
			lowerNext := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsDigit(r) != unicode.IsDigit(was) || unicode.IsUpper(r) && (unicode.IsLower(was) || unicode.IsUpper(was) && lowerNext) {
				cut()
			}
		}
		b.WriteRune(r)
	}
	cut()
	return all
}

// isRedacted reports whether a part of a path says that something was taken out, or
// is the place holder of a pattern.
func isRedacted(text string) bool {
	for _, pair := range []string{"{}", "<>", "[]"} {
		if len(text) >= 2 && text[0] == pair[0] && text[len(text)-1] == pair[1] {
			return true
		}
	}
	return strings.HasPrefix(text, ":") || only(text, "*") || only(text, "xX") && len(text) > 2 || strings.EqualFold(text, "redacted")
}

// person reports whether a literal speaks of people, so that a name may follow.
func (w *words) person(text string) bool {
	for _, t := range tokens(text) {
		switch strings.TrimSuffix(t, "s") {
		case "patient", "person", "people", "client", "subject", "name", "forename", "surname", "user", "staff", "search", "find", "lookup", "by", "practitioner":
			return true
		}
	}
	return false
}

// thing names the place after a literal such as patients.
func (w *words) thing(before segment) string {
	if before.variable() {
		return ""
	}
	parts := tokens(before.literal)
	if len(parts) == 0 {
		return ""
	}
	last := parts[len(parts)-1]
	switch one := strings.TrimSuffix(last, "s"); one {
	case "patient", "person", "client", "subject", "encounter", "visit", "episode", "order", "result", "note", "document", "letter", "ward", "bed", "clinic", "appointment", "user", "event", "study", "report", "observation", "medication", "prescription", "referral", "admission", "form", "file", "message", "nhs", "mrn":
		return one
	case "people":
		return "person"
	}
	return ""
}

// nameVariables makes the names of places unique within a path.
func nameVariables(list []segment) {
	used := map[string]int{}
	for i := range list {
		if !list[i].variable() {
			continue
		}
		n := list[i].name
		if used[n]++; used[n] > 1 {
			list[i].name += strconv.Itoa(used[n])
		}
	}
}
