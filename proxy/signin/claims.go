package signin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/matron-epr/matron/policy"
)

// ClaimMap says which claims describe a person. Each value is the name of a
// claim or a dotted path into nested ones ("realm_access.roles"); a path goes
// through arrays, and a claim whose own name holds dots is found first. A path
// that begins with "$role." looks into the role entry that Selected names.
type ClaimMap struct {
	Person       string // default "sub"
	Name         string // default "name"
	Roles        string // default "roles"
	Activities   string
	Organisation string
	RoleID       string
	Assurance    string // a number or a string such as "3"
	Selected     SelectedRole
	// RoleSeparator keeps only what follows the last separator of each role:
	// ":" turns S8000:G8000:R8001 into R8001.
	RoleSeparator string
}

// SelectedRole finds the role that a person chose at sign-in among all they
// hold: the entry of List whose Key equals the claim ID. A list without that
// entry yields no role at all.
type SelectedRole struct {
	ID   string // e.g. "selected_roleid"
	List string // e.g. "nhsid_nrbac_roles"
	Key  string // e.g. "person_roleid"
}

// RoleEntry begins a path into the entry that SelectedRole finds.
const RoleEntry = "$role."

const (
	maxClaimValue = 256
	maxClaimList  = 256
)

func (m ClaimMap) withDefaults() ClaimMap {
	if m.Person == "" {
		m.Person = "sub"
	}
	if m.Name == "" {
		m.Name = "name"
	}
	if m.Roles == "" {
		m.Roles = "roles"
	}
	return m
}

// claims is one JSON object with its numbers as written.
type claims map[string]any

func parseClaims(raw []byte) (claims, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var c claims
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("%w: %w", errClaims, err)
	}
	if c == nil {
		return nil, fmt.Errorf("%w: no object", errClaims)
	}
	return c, nil
}

// over lays the signed claims of the ID token over those of userinfo: where
// both speak, the signature wins.
func (c claims) over(base claims) claims {
	merged := make(claims, len(c)+len(base))
	for k, v := range base {
		merged[k] = v
	}
	for k, v := range c {
		merged[k] = v
	}
	return merged
}

// subject reads who the claims speak of. A claim that is there but cannot be
// understood refuses the whole: a garbled role must not pass for no role, nor
// half a list for all of it.
func (m ClaimMap) subject(issuer string, c claims) (policy.Subject, error) {
	role, err := m.Selected.entry(c)
	if err != nil {
		return policy.Subject{}, err
	}
	r := reader{claims: c, role: role}
	s := policy.Subject{
		Issuer:       issuer,
		Sub:          r.one("sub"),
		Person:       r.one(m.Person),
		Name:         r.display(m.Name),
		Roles:        lastParts(r.all(m.Roles), m.RoleSeparator),
		Activities:   r.all(m.Activities),
		Organisation: r.one(m.Organisation),
		RoleID:       r.one(m.RoleID),
		ACR:          r.one("acr"),
		AMR:          r.all("amr"),
		Assurance:    level(r.one(m.Assurance)),
		AuthTime:     r.time("auth_time"),
	}
	if r.err != nil {
		return policy.Subject{}, r.err
	}
	if s.Sub == "" {
		return policy.Subject{}, fmt.Errorf("%w: sub is missing", errClaims)
	}
	return s, nil
}

// entry finds the selected role; nil when none is selected or listed.
func (sel SelectedRole) entry(c claims) (claims, error) {
	if sel.List == "" {
		return nil, nil
	}
	chosen := reader{claims: c}
	id := chosen.one(sel.ID)
	if chosen.err != nil {
		return nil, chosen.err
	}
	list, _ := c[sel.List].([]any)
	for _, item := range list {
		one, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: %s holds something else than roles", errClaims, sel.List)
		}
		key := reader{claims: one}
		if k := key.one(sel.Key); key.err == nil && k != "" && k == id {
			return one, nil
		}
	}
	return nil, nil
}

// reader looks claims up and keeps the first error.
type reader struct {
	claims claims
	role   claims
	err    error
}

// all returns the strings at path; none when it is not there.
func (r *reader) all(path string) []string {
	var values []string
	r.collect(r.find(path), path, &values)
	return values
}

// one returns the single string at path, "" when it is not there.
func (r *reader) one(path string) string {
	values := r.all(path)
	switch len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	}
	r.fail(path, "more than one value")
	return ""
}

func (r *reader) time(path string) time.Time {
	text := r.one(path)
	if text == "" {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || seconds > 1<<36 {
		r.fail(path, "not a time")
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// display returns the text at path for people to read: never a reason to
// refuse, never with control characters.
func (r *reader) display(path string) string {
	text, _ := r.find(path).(string)
	return printable(shorten(text))
}

func (r *reader) fail(path, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s: %s", errClaims, path, why)
	}
}

func (r *reader) find(path string) any {
	if path == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(path, RoleEntry); ok {
		return lookup(map[string]any(r.role), rest)
	}
	return lookup(map[string]any(r.claims), path)
}

// lookup follows a path through objects, and through every element of arrays.
func lookup(value any, path string) any {
	switch v := value.(type) {
	case map[string]any:
		if found, ok := v[path]; ok {
			return found
		}
		head, rest, ok := strings.Cut(path, ".")
		if !ok {
			return nil
		}
		return lookup(v[head], rest)
	case []any:
		var found []any
		for _, item := range v {
			if one := lookup(item, path); one != nil {
				found = append(found, one)
			}
		}
		return found
	}
	return nil
}

// collect flattens strings, numbers and arrays of them into values.
func (r *reader) collect(value any, path string, values *[]string) {
	switch v := value.(type) {
	case nil:
	case string:
		r.add(v, path, values)
	case json.Number:
		r.add(v.String(), path, values)
	case []any:
		for _, item := range v {
			if item == nil {
				r.fail(path, "an entry is null")
			}
			r.collect(item, path, values)
		}
	default:
		r.fail(path, "neither text, number nor list")
	}
}

func (r *reader) add(text, path string, values *[]string) {
	switch {
	case text == "":
	case len(text) > maxClaimValue || !utf8.ValidString(text):
		r.fail(path, "too long or not UTF-8")
	case len(*values) >= maxClaimList:
		r.fail(path, "too many values")
	case strings.ContainsFunc(text, unicode.IsControl):
		r.fail(path, "control characters")
	default:
		if !slices.Contains(*values, text) {
			*values = append(*values, text)
		}
	}
}

// level reads an assurance level; what is not 1 to 3 is unknown.
func level(text string) int {
	switch text {
	case "1", "2", "3":
		return int(text[0] - '0')
	}
	return 0
}

// printable replaces control characters, which a name may not bring into pages
// and records.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, name)
}

// shorten cuts text to at most maxClaimValue bytes of valid UTF-8.
func shorten(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxClaimValue {
		return text
	}
	return strings.ToValidUTF8(text[:maxClaimValue], "")
}

func lastParts(values []string, separator string) []string {
	if separator == "" {
		return values
	}
	var parts []string
	for _, v := range values {
		part := v[strings.LastIndex(v, separator)+1:]
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return parts
}

// claimsOf reads what go-oidc verified.
func claimsOf(unmarshal func(any) error) (claims, error) {
	var raw json.RawMessage
	if err := unmarshal(&raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errClaims, err)
	}
	return parseClaims(raw)
}
