package openmaxims

import (
	"html"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// banner reads the line that every screen shows of the current patient:
//
//	[prefix]Name : dd/MM/yyyy Age: N  Sex. TYPE: VALUE (WARD)
//
// ok is false when it names somebody who cannot be told.
func (t *Tables) banner(line string) (p proxy.Patient, ok bool) {
	_, rest, found := strings.Cut(line, " : ")
	if !found {
		return p, false
	}
	// A name may hold whatever a label holds: what counts is after the date.
	for label, k := range t.identifiers {
		label = ". " + label + ": "
		_, value, found := strings.Cut(rest, label)
		if !found {
			continue
		}
		if strings.Contains(value, label) {
			return proxy.Patient{}, false // a name or a ward that looks like an identifier
		}
		value, _, _ = strings.Cut(value, " (")
		q := identified(strings.TrimSpace(value), k)
		if q == (proxy.Patient{}) || p != (proxy.Patient{}) {
			return proxy.Patient{}, false // none, or two, where one is meant
		}
		p = q
	}
	return p, p != (proxy.Patient{})
}

// identified is the patient of an identifier, nobody when it is none. Numbers
// that were not traced are written ***.
func identified(value string, k kind) proxy.Patient {
	if k == nhs {
		digits := strings.NewReplacer(" ", "", "-", "", "*", "").Replace(value)
		if len(digits) != 10 || strings.Trim(digits, "0123456789") != "" {
			return proxy.Patient{}
		}
		return proxy.Patient{NHSNumber: digits}
	}
	if k != local || value == "" || strings.ContainsAny(value, " \t\n") || len(value) > maxIdentifier {
		return proxy.Patient{}
	}
	return proxy.Patient{ID: value}
}

// maxIdentifier is longer than any hospital number.
const maxIdentifier = 64

// tooltip reads the alert with everything that identifies the patient: HTML lines
// "<b>TYPE:</b> VALUE<br>" after the word Identifiers.
func (t *Tables) tooltip(text string) (p proxy.Patient) {
	_, rest, found := strings.Cut(text, "Identifiers")
	if !found {
		return p
	}
	for line := range strings.SplitSeq(rest, "<br>") {
		bare := html.UnescapeString(untagged(line))
		label, value, found := strings.Cut(strings.ReplaceAll(bare, "\u00a0", " "), ":")
		if k := t.identifiers[strings.TrimSpace(label)]; found {
			p = p.Join(identified(strings.TrimSpace(value), k))
		}
	}
	return p
}

// untagged is HTML without its tags.
func untagged(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "<")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, after, closed := strings.Cut(rest, ">")
		if !closed {
			return b.String()
		}
		s = after
	}
}

// working reads the browser title, which names user and role:
//
//	" - USER logged into DB on server HOST  as ROLE"
func working(title string) (user, role string, ok bool) {
	before, after, found := strings.Cut(title, " logged into ")
	i := strings.LastIndex(before, "- ")
	if !found || i < 0 {
		return "", "", false
	}
	_, after, found = strings.Cut(after, " on server ")
	_, role, named := strings.Cut(after, " as ")
	user, role = strings.TrimSpace(before[i+2:]), strings.TrimSpace(role)
	return user, role, found && named && user != "" && role != ""
}
