package hazardlog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// mistakes is what is wrong with a log, one line each.
type mistakes []string

func (m *mistakes) add(field, text string) { *m = append(*m, field+": "+text) }

// under adds the mistakes of one hazard under its name.
func (m *mistakes) under(name string, list mistakes) {
	for _, text := range list {
		*m = append(*m, name+" "+text)
	}
}

func (m *mistakes) need(field, text string) {
	if strings.TrimSpace(text) == "" {
		m.add(field, "is empty")
	}
}

func checkHead(l Log) mistakes {
	var found mistakes
	if l.Format != Format {
		found.add("format", fmt.Sprintf("is %q, expected %q", l.Format, Format))
	}
	found.need("title", l.Title)
	found.need("approval.note", l.Approval.Note)
	switch l.Approval.State {
	case Draft:
		if l.Approval.By != "" {
			found.add("approval.by", "names somebody although the log is a draft")
		}
	case Approved:
		found.need("approval.by", l.Approval.By)
	default:
		found.add("approval.state", fmt.Sprintf("is %q, expected %q or %q", l.Approval.State, Draft, Approved))
	}
	return found
}

func checkHazard(h Hazard) mistakes {
	var found mistakes
	if !regexp.MustCompile(`^[A-Z]{1,8}-[0-9]{2,4}$`).MatchString(h.ID) {
		found.add("id", fmt.Sprintf("%q is not of the form GW-01", h.ID))
	}
	for _, f := range [][2]string{
		{"name", h.Name},
		{"effect", h.Effect},
		{"hazard", h.Hazard},
		{"harm", h.Harm},
		{"owner", h.Owner},
	} {
		found.need(f[0], f[1])
	}
	if len(h.Causes) == 0 {
		found.add("causes", "there is none")
	}
	for i, cause := range h.Causes {
		found.need(fmt.Sprintf("causes[%d]", i), cause)
	}
	oneOf(&found, "status", h.Status, Open, Closed, Transferred)
	for i, c := range h.Controls {
		found = append(found, checkControl(fmt.Sprintf("controls[%d]", i), c)...)
	}
	found = append(found, checkRating("initial", h.Initial)...)
	found = append(found, checkRating("residual", h.Residual)...)
	return found
}

func checkControl(field string, c Control) mistakes {
	var found mistakes
	oneOf(&found, field+".type", c.Type, Design, Training, BusinessProcess)
	oneOf(&found, field+".timing", c.Timing, Existing, Additional)
	oneOf(&found, field+".status", c.Status, Proposed, InPlace, Implemented, Verified)
	found.need(field+".text", c.Text)
	return found
}

// checkRating accepts a rating with both words and a reason, or with nothing at
// all, which is not rated.
func checkRating(field string, r Rating) mistakes {
	var found mistakes
	if r.Severity == "" && r.Likelihood == "" {
		return nil
	}
	oneOf(&found, field+".severity", r.Severity, Severities()...)
	oneOf(&found, field+".likelihood", r.Likelihood, Likelihoods()...)
	found.need(field+".justification", r.Justification)
	return found
}

func oneOf[T ~string](found *mistakes, field string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	found.add(field, fmt.Sprintf("is %q, expected one of: %s", value, strings.Join(words, ", ")))
}
