package rego

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/matron-epr/matron/policy"
)

// field is one fact of a question: where rules find it (input.NAME or
// input.GROUP.NAME), its value there, and its bytes in the cache's key. Both
// come from one getter, so that what a rule can read and what the key holds
// cannot drift apart.
type field struct {
	group string // "" at the top
	name  *ast.Term
	term  func(vocabulary, *policy.Request) *ast.Term
	key   func([]byte, *policy.Request) []byte
}

// maxFacts bounds what a question holds at each level.
const maxFacts = 24

// facts is every field of a question in the order of the policy package, those of a
// group together, and what is made of them: known, which says that the subject names
// somebody, and signed_in_within. Times are given in whole seconds: a rule about an
// hour needs no more, and within one second the same question stays the same.
func facts() []field {
	return []field{
		ofSubject(flag("known", func(q *policy.Request) bool { return q.Subject.Known() })),
		subjectText("issuer", func(q *policy.Request) string { return q.Subject.Issuer }),
		subjectText("sub", func(q *policy.Request) string { return q.Subject.Sub }),
		subjectText("person", func(q *policy.Request) string { return q.Subject.Person }),
		subjectText("name", func(q *policy.Request) string { return q.Subject.Name }),
		ofSubject(texts("roles", func(q *policy.Request) []string { return q.Subject.Roles })),
		ofSubject(texts("activities", func(q *policy.Request) []string { return q.Subject.Activities })),
		subjectText("organisation", func(q *policy.Request) string { return q.Subject.Organisation }),
		subjectText("role_id", func(q *policy.Request) string { return q.Subject.RoleID }),
		subjectText("acr", func(q *policy.Request) string { return q.Subject.ACR }),
		ofSubject(texts("amr", func(q *policy.Request) []string { return q.Subject.AMR })),
		ofSubject(number("assurance", func(q *policy.Request) int { return q.Subject.Assurance })),
		ofSubject(instant("auth_time", func(q *policy.Request) time.Time { return q.Subject.AuthTime })),
		subjectText("session", func(q *policy.Request) string { return q.Subject.Session }),
		subjectText("token", func(q *policy.Request) string { return q.Subject.Token }),
		ofSubject(flag("machine", func(q *policy.Request) bool { return q.Subject.Machine })),
		ofSubject(number("signed_in_within", signedInWithin)),
		text("site", func(q *policy.Request) string { return q.Site }),
		text("app", func(q *policy.Request) string { return q.App }),
		text("rule", func(q *policy.Request) string { return q.Rule }),
		text("action", func(q *policy.Request) string { return string(q.Action) }),
		text("area", func(q *policy.Request) string { return string(q.Area) }),
		text("resource", func(q *policy.Request) string { return q.Resource }),
		texts("patients", func(q *policy.Request) []string { return q.Patients }),
		text("certainty", func(q *policy.Request) string { return q.Certainty }),
		flag("held", func(q *policy.Request) bool { return q.Held }),
		text("purpose", func(q *policy.Request) string { return q.Purpose }),
		text("grant", func(q *policy.Request) string { return q.Grant }),
		text("method", func(q *policy.Request) string { return q.Method }),
		instant("time", func(q *policy.Request) time.Time { return q.Time }),
		in("care", text("feed", func(q *policy.Request) string { return string(q.Care.Feed) })),
		in("care", texts("kinds", func(q *policy.Request) []string { return q.Care.Kinds })),
		in("care", lists("each", func(q *policy.Request) [][]string { return q.Care.Each })),
		in("care", instant("as_of", func(q *policy.Request) time.Time { return q.Care.AsOf })),
		in("sensitivity", flag("known", func(q *policy.Request) bool { return q.Sensitivity.Known })),
		in("sensitivity", texts("classes", func(q *policy.Request) []string { return q.Sensitivity.Classes })),
	}
}

// signedInWithin is how long ago the identity was proved, in minutes and rounded up
// to one of a few steps, so that a rule about it does not make each second's question
// another one (the cache's key holds what rules read). 0 means that it is not known
// or longer ago than any step. Clocks of the provider and of this machine may differ
// by what is the first step.
func signedInWithin(q *policy.Request) int {
	if q.Subject.AuthTime.IsZero() || q.Time.IsZero() {
		return 0
	}
	age := q.Time.Sub(q.Subject.AuthTime)
	if age < -5*time.Minute {
		return 0
	}
	for _, step := range [...]int{5, 15, 30, 60, 120, 240, 480, 720} {
		if age <= time.Duration(step)*time.Minute {
			return step
		}
	}
	return 0
}

func text(name string, get func(*policy.Request) string) field {
	return field{
		name: ast.StringTerm(name),
		term: func(v vocabulary, q *policy.Request) *ast.Term { return v.text(get(q)) },
		key:  func(b []byte, q *policy.Request) []byte { return appendText(b, get(q)) },
	}
}

func texts(name string, get func(*policy.Request) []string) field {
	return field{
		name: ast.StringTerm(name),
		term: func(v vocabulary, q *policy.Request) *ast.Term { return v.texts(get(q)) },
		key:  func(b []byte, q *policy.Request) []byte { return appendTexts(b, get(q)) },
	}
}

func lists(name string, get func(*policy.Request) [][]string) field {
	return field{
		name: ast.StringTerm(name),
		term: func(v vocabulary, q *policy.Request) *ast.Term {
			terms := make([]*ast.Term, 0, len(get(q)))
			for _, list := range get(q) {
				terms = append(terms, v.texts(list))
			}
			return ast.ArrayTerm(terms...)
		},
		key: func(b []byte, q *policy.Request) []byte {
			all := get(q)
			b = binary.AppendVarint(b, int64(len(all)))
			for _, list := range all {
				b = appendTexts(b, list)
			}
			return b
		},
	}
}

func number(name string, get func(*policy.Request) int) field {
	return field{
		name: ast.StringTerm(name),
		term: func(_ vocabulary, q *policy.Request) *ast.Term { return ast.InternedTerm(get(q)) },
		key:  func(b []byte, q *policy.Request) []byte { return binary.AppendVarint(b, int64(get(q))) },
	}
}

func flag(name string, get func(*policy.Request) bool) field {
	return field{
		name: ast.StringTerm(name),
		term: func(_ vocabulary, q *policy.Request) *ast.Term { return ast.InternedTerm(get(q)) },
		key:  func(b []byte, q *policy.Request) []byte { return strconv.AppendBool(b, get(q)) },
	}
}

// instant gives a time as RFC 3339 in UTC, or "" when there is none.
func instant(name string, get func(*policy.Request) time.Time) field {
	return field{
		name: ast.StringTerm(name),
		term: func(_ vocabulary, q *policy.Request) *ast.Term {
			t := get(q)
			if t.IsZero() {
				return ast.InternedEmptyString
			}
			return ast.StringTerm(t.UTC().Format(time.RFC3339))
		},
		key: func(b []byte, q *policy.Request) []byte {
			t := get(q)
			return binary.AppendVarint(strconv.AppendBool(b, t.IsZero()), t.Unix())
		},
	}
}

func subjectText(name string, get func(*policy.Request) string) field {
	return ofSubject(text(name, get))
}

func ofSubject(f field) field { return in("subject", f) }

func in(group string, f field) field {
	f.group = group
	return f
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendVarint(b, int64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

// vocabulary holds the words that a bundle mentions as ready-made terms, and the
// list of each alone, as most people have one role. It remembers the groups of facts
// of late, since a person asks many questions and most patients are alike in theirs.
// Terms are shared between evaluations and never changed.
type vocabulary struct {
	words  map[string]word
	groups *memo // nil remembers none
}

type word struct{ term, alone *ast.Term }

// vocabularyOf learns the words of the tables and of the rules.
func vocabularyOf(data ast.Value, rules []*ast.Rule) vocabulary {
	v := vocabulary{words: map[string]word{}, groups: &memo{terms: map[string]*ast.Term{}}}
	v.learn(ast.NewTerm(data))
	for _, r := range rules {
		v.learn(r)
	}
	return v
}

// learn takes in every string constant below x.
func (v vocabulary) learn(x any) {
	ast.WalkTerms(x, func(t *ast.Term) bool {
		if s, ok := t.Value.(ast.String); ok {
			term := ast.StringTerm(string(s))
			v.words[string(s)] = word{term, ast.ArrayTerm(term)}
		}
		return false
	})
}

func (v vocabulary) text(s string) *ast.Term {
	if w, ok := v.words[s]; ok {
		return w.term
	}
	return ast.StringTerm(s)
}

func (v vocabulary) texts(list []string) *ast.Term {
	switch len(list) {
	case 0:
		return ast.InternedEmptyArray
	case 1:
		if w, ok := v.words[list[0]]; ok {
			return w.alone
		}
	}
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = v.text(s)
	}
	return ast.ArrayTerm(terms...)
}

// question builds the input document from the given fields. Those of a group stand
// beside each other.
func question(v vocabulary, fields []field, q *policy.Request) ast.Value {
	var pairs [maxFacts][2]*ast.Term // on the stack
	root, buf := pairs[:0], make([]byte, 0, 256)
	for i := 0; i < len(fields); {
		if fields[i].group == "" {
			root = append(root, [2]*ast.Term{fields[i].name, fields[i].term(v, q)})
			i++
			continue
		}
		end := i + 1
		for end < len(fields) && fields[end].group == fields[i].group {
			end++
		}
		root = append(root, [2]*ast.Term{v.text(fields[i].group), v.group(fields[i:end], q, buf)})
		i = end
	}
	return ast.NewObject(root...)
}

// group builds the facts of one group, or takes them from what was asked before. buf
// is room for its key.
func (v vocabulary) group(fields []field, q *policy.Request, buf []byte) *ast.Term {
	if v.groups == nil {
		return v.newGroup(fields, q)
	}
	// The fields that a bundle's rules read are among all of them: as many are the same.
	key := append(binary.AppendVarint(buf, int64(len(fields))), fields[0].group...)
	key = appendKey(append(key, 0), fields, q)
	if known := v.groups.get(key); known != nil {
		return known
	}
	term := v.newGroup(fields, q)
	v.groups.put(key, term)
	return term
}

func (v vocabulary) newGroup(fields []field, q *policy.Request) *ast.Term {
	var pairs [maxFacts][2]*ast.Term // on the stack
	for i := range fields {
		pairs[i] = [2]*ast.Term{fields[i].name, fields[i].term(v, q)}
	}
	return ast.ObjectTerm(pairs[:len(fields)]...)
}

// memo remembers ready-made groups of facts by their bytes. It forgets all of them
// when it is full. It is safe for concurrent use.
type memo struct {
	mu    sync.RWMutex
	terms map[string]*ast.Term // guarded by mu
}

// Bounds of a memo: about 4 MiB.
const (
	memoEntries = 4096
	memoKey     = 1 << 10
)

func (m *memo) get(key []byte) *ast.Term {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.terms[string(key)]
}

func (m *memo) put(key []byte, term *ast.Term) {
	if len(key) > memoKey {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.terms) >= memoEntries {
		clear(m.terms)
	}
	m.terms[string(key)] = term
}

// appendKey appends the bytes of the given fields. Two questions have the same
// bytes only if they are alike in all of them.
func appendKey(b []byte, fields []field, q *policy.Request) []byte {
	for i := range fields {
		b = fields[i].key(b, q)
	}
	return b
}
