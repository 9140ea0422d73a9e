package appmap

import (
	"net/url"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// maxPHPInputs is how many parameters PHP reads of a query or a form unless it is
// told otherwise (max_input_vars): it drops those that follow.
const maxPHPInputs = 1000

// phpExtractor guards what a rule reads for an application in PHP. It never holds a
// response: a rule may declare one.
func phpExtractor() extractor { return extractor{name: "php.request", request: phpRequest} }

// phpRequest refuses what PHP would read as something else than the map has: it
// makes set_pid of set.pid and set_pid[], and 41 of 41abc (GW-05, GW-08).
func phpRequest(x *exchange, a *proxy.Access) error {
	read := x.rule.inputs()
	query, err := x.params()
	if err != nil {
		return err
	}
	if err := plainInputs(query, read); err != nil {
		return err
	}
	form, err := x.formBody()
	if err != nil {
		return err
	}
	if err := plainInputs(form, read); err != nil {
		return err
	}
	for _, p := range a.Patients {
		if p.ID != "" && !isPlainID(p.ID) {
			return malformed("the id of a patient is neither a plain number nor a UUID in lower case")
		}
	}
	return nil
}

// inputs are the names of parameters and fields that a rule reads.
func (r *rule) inputs() map[string]bool {
	read := map[string]bool{}
	add := func(s *source) {
		if s != nil && (s.kind == fromQuery || s.kind == fromForm) {
			read[s.name] = true
		}
	}
	for i := range r.patients {
		add(r.patients[i].from)
	}
	for i := range r.conditions {
		add(r.conditions[i].from)
	}
	for _, v := range []*value{&r.action, &r.area, &r.screen, &r.resource, &r.resourceID, &r.version} {
		add(v.from)
	}
	return read
}

func plainInputs(given url.Values, read map[string]bool) error {
	if len(read) == 0 {
		return nil
	}
	n := 0
	for name, values := range given {
		n += len(values)
		if known := phpName(name); known != name && read[known] {
			return malformed("a parameter has another name for PHP")
		}
	}
	if n > maxPHPInputs {
		return malformed("more parameters than PHP reads")
	}
	return nil
}

// phpName is the name under which a PHP application finds a parameter.
func phpName(name string) string {
	name = strings.TrimLeft(name, " ")
	name, _, _ = strings.Cut(name, "\x00")
	if i := strings.IndexByte(name, '['); i > 0 && strings.IndexByte(name[i:], ']') > 0 {
		name = name[:i] // an array, or a value put into one
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '.' || r == '[' {
			return '_'
		}
		return r
	}, name)
}

// isPlainID reports whether an id has one way to be written: what PHP and its
// database take for the same number would be another patient in the record.
func isPlainID(id string) bool {
	if only(id, "0123456789") {
		return id != "" && id[0] != '0'
	}
	if len(id) != 36 || !only(id, "0123456789abcdef-") {
		return false
	}
	for i := range len(id) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (id[i] == '-') {
			return false
		}
	}
	return true
}
