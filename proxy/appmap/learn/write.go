package learn

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// TODO is what a person has to fill in: the map is not valid before.
const TODO = "TODO"

const moment = "2 January 2006 15:04"

// WriteYAML writes the proposal as a map with comments. Times are in zone.
func (p *Proposal) WriteYAML(out io.Writer, zone *time.Location) error {
	w := &writer{out: out, zone: zone}
	w.head(p)
	if len(p.Rules) == 0 {
		w.line("rules: []")
		return w.err
	}
	w.line("rules:")
	for i := range p.Rules {
		w.rule(&p.Rules[i])
	}
	return w.err
}

type writer struct {
	out  io.Writer
	zone *time.Location
	err  error
}

func (w *writer) line(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format+"\n", args...)
	}
}

func (w *writer) head(p *Proposal) {
	span := ""
	if !p.From.IsZero() {
		span = ", " + p.From.In(w.zone).Format(moment) + " to " + p.To.In(w.zone).Format(moment)
	}
	w.line("# Proposed from %s that no rule describes, by %s, in %s%s.", counted(p.Requests, "request"), people(p.People), p.Source, span)
	w.line("# Fill in every %s, see for each rule whether the rest is right, and run matron appmap check.", TODO)
	w.line("# It shows no value of any request: words of paths and names of parameters only where")
	w.line("# they are known as words of applications.")
	if p.NotListed > 0 {
		w.line("# On further routes, not listed: %s. Learn from a shorter time.", counted(p.NotListed, "request"))
	}
	if p.Outside > 0 {
		w.line("# Outside %s: %s, not counted above.", p.Base, counted(p.Outside, "request"))
	}
	if p.Unreadable > 0 {
		w.line("# Not readable, or without a path: %s.", counted(p.Unreadable, "line"))
	}
	w.line("app: %s", quote(p.Application))
	if p.Base != "" {
		w.line("base: %s", quote(p.Base))
	}
	if len(p.Redact) > 0 {
		w.line("redact: [%s] # their names speak of secrets", strings.Join(quoted(p.Redact), ", "))
	}
}

func (w *writer) rule(r *Rule) {
	w.line("")
	w.line("  # %s by %s, %s to %s%s", counted(r.Requests, "request"), people(r.People),
		r.First.In(w.zone).Format(moment), r.Last.In(w.zone).Format(moment), tally(r.Status, "; answered "))
	if names := parameters(r); names != "" {
		w.line("  # query: %s", names)
	}
	if len(r.Content) > 0 {
		w.line("  # bodies: %s", tally(r.Content, ""))
	}
	for _, p := range r.Places {
		w.line("  # {%s}: %s", p.Name, distinct(p.Distinct))
	}
	for _, n := range r.Notes {
		w.line("  # %s", n)
	}
	comment := ""
	if r.Method == otherMethod {
		comment = "# "
	}
	method := r.Method
	w.line("  %s- id: %s", comment, r.ID)
	w.line("  %s  match: {method: [%s], path: %s}", comment, method, quote(r.Path))
	w.line("  %s  action: %s", comment, r.Action)
	w.line("  %s  area: %s", comment, TODO)
	w.patient(comment, r)
}

// patient writes where the patient is named: the likeliest place, the others as
// comments.
func (w *writer) patient(comment string, r *Rule) {
	w.line("  %s  phase: %s", comment, r.Phase)
	switch {
	case len(r.Patient) > 0:
		w.line("  %s  patient: # remove what does not name the patient", comment)
		for i, c := range r.Patient {
			also := comment
			if i > 0 {
				also = "# "
			}
			w.line("  %s    - {value: %s%s} # %s", also, quote(c.Value), system(c), c.Ground)
		}
	case r.Phase == "request":
		w.line("  %s  patient: # or, if it concerns nobody: no-patient: true", comment)
		w.line("  %s    - {value: %s} # form:FIELD or json:/POINTER: bodies are not in the record", comment, TODO)
	default:
		w.line("  %s  response: # or, if it concerns nobody, without response and phase: no-patient: true", comment)
		w.line("  %s    patient:", comment)
		w.line("  %s      - {value: %s} # json:/POINTER; with each: for a list", comment, TODO)
	}
}

func system(c Candidate) string {
	if c.System == "" {
		return ""
	}
	return ", system: " + c.System
}

func parameters(r *Rule) string {
	var names []string
	for _, p := range r.Parameters {
		if p.Requests == r.Requests {
			names = append(names, p.Name)
			continue
		}
		names = append(names, fmt.Sprintf("%s (in %d)", p.Name, p.Requests))
	}
	if r.Hidden > 0 {
		names = append(names, counted(uint64(r.Hidden), "other name")+" not shown")
	}
	return strings.Join(names, ", ")
}

func tally(counts map[string]uint64, before string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return before + strings.Join(parts, ", ")
}

func distinct(n int) string {
	if n >= maxDistinct {
		return fmt.Sprintf("%d different values or more", n)
	}
	if n == 1 {
		return "always the same value"
	}
	return fmt.Sprintf("%d different values", n)
}

func counted(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return out
}
