package proxy

import (
	"errors"
	"net/http"

	"github.com/matron-epr/matron/policy"
)

// CanonicalPath lets tests reach canonicalPath.
func CanonicalPath(p string) bool { return canonicalPath(p) }

// Accept lets tests reach accept.
func Accept(r *http.Request) error { return accept(r) }

// ClaimsIdentity lets tests reach claimsIdentity.
func ClaimsIdentity(name string) bool { return claimsIdentity(name) }

// FirstRequest follows the bytes of a connection and returns where its first
// request ends, 0 if it does not end, and whether its framing is ambiguous. It
// feeds step bytes at a time.
func FirstRequest(b []byte, step int) (end int, ambiguous bool) {
	var f framing
	begun := false
	for i := 0; i < len(b); i += step {
		f.feed(b[i:min(i+step, len(b))])
		if f.ambiguous {
			return 0, true
		}
		if begun && f.state == inHeader && !f.started {
			return min(i+step, len(b)), false
		}
		begun = begun || f.started
	}
	return 0, false
}

// Ambiguous reports whether any of the requests in b has ambiguous framing.
func Ambiguous(b []byte, step int) bool {
	var f framing
	for i := 0; i < len(b); i += step {
		f.feed(b[i:min(i+step, len(b))])
	}
	return f.ambiguous
}

// Answer follows the bytes of an application and returns where its answer ends, 0
// if it does not end before the connection does.
func Answer(b []byte, step int, head bool) int {
	f := framing{answer: true, head: head}
	for i := 0; i < len(b); i += step {
		p := b[i:min(i+step, len(b))]
		if rest := f.feed(p); f.state == ended {
			return i + len(p) - len(rest)
		}
	}
	return 0
}

// Codes returns the code of every explanation and checks that each is whole.
func Codes() ([]string, error) {
	var codes []string
	for _, e := range explanations() {
		codes = append(codes, e.code)
		if e.err == nil || e.status < 400 && !e.is(errNotShown) || e.code == "" || e.title == "" || e.text == "" || e.remedy == "" {
			return codes, errors.New("explanation " + e.code + " is not whole")
		}
		if explain(e.err).code != e.code {
			return codes, errors.New("explanation " + e.code + " is hidden by another")
		}
	}
	return codes, nil
}

// RefusalTemplate lets tests check the page against its struct.
func RefusalTemplate() (any, any, error) {
	t, err := parsePage()
	return t, refusalPage{}, err
}

// YieldsAt lets tests reach yieldsAt.
func YieldsAt(s policy.Subject, a *Access) Shortage { return yieldsAt(s, a) }

// Kept is how many bytes all exchanges keep in memory together.
func (g *Gateway) Kept() int64 { return g.kept.Load() }
