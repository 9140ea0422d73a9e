package proxy

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
)

// inOrder puts edits in the order of their places. What lies within a stretch that
// another edit takes out goes with it.
func inOrder(edits []edit) []edit {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	done := int64(0)
	return slices.DeleteFunc(edits, func(e edit) bool {
		within := e.from < done && e.to <= done
		done = max(done, e.to)
		return within
	})
}

// without leaves entries out of a Bundle, and with them all that tells how many there
// were: what stands between members and entries is written anew whether or not any
// is left out, and a list of none is not there (GW-08). What is kept keeps its bytes.
func (b *Bundle) without(left []bool) []edit {
	var kept []Span
	for i := range b.Entries {
		if i >= len(left) || !left[i] {
			kept = append(kept, b.Entries[i].Span)
		}
	}
	var edits []edit
	at, glue := b.From, "{"
	to := func(from int64, text string) { edits = append(edits, edit{at, from, []byte(text)}) }
	for _, m := range b.Members {
		if m != b.List {
			to(m.From, glue)
			at, glue = m.To, ","
			continue
		}
		if len(kept) == 0 {
			continue
		}
		name, _ := json.Marshal(b.Name) // a string always has a JSON text
		glue += string(name) + ":["
		for _, e := range kept {
			if glue != "," || e.From != at+1 { // one byte between two of them is a comma already
				to(e.From, glue)
			}
			at, glue = e.To, ","
		}
		glue = "],"
	}
	switch glue {
	case "{":
		to(b.To, "{}")
	case ",":
		to(b.To, "}")
	default:
		to(b.To, "]}")
	}
	return edits
}

// trims reports whether a Bundle is cut to what does not tell how many entries were
// left out: that is so for whatever nobody was named in asking for it.
func (x *exchange) trims(b *Bundle) bool {
	return b != nil && x.mode == Enforce && len(x.access.Patients) == 0
}

// untold takes off the header what says something of the whole answer.
func untold(h http.Header) {
	for _, name := range [...]string{"Etag", "Last-Modified", "X-Total-Count", "X-Total"} {
		delete(h, name)
	}
	dropDigests(h)
}

// dropDigests takes digests of bytes off that are others now.
func dropDigests(h http.Header) {
	for _, name := range [...]string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(h, name)
	}
}
