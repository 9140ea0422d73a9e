package openmaxims

import (
	"errors"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// ErrOperation is the error of a call of an operation that no table names.
var ErrOperation = errors.New("unknown operation")

// InternalPrefix stands before the record's internal number of a patient, which
// is no hospital number and must not be taken for one.
const InternalPrefix = "internal:"

// Call reads a SOAP 1.1 call in RPC style: the operation is the first element of
// the body, its parameters are named, or numbered in0, in1 and so on as Axis does
// without a description.
func (t *Tables) Call(body []byte, machine bool) (Plan, error) {
	if len(body) > maxRequest {
		return Plan{}, malformed("longer than a call")
	}
	d, err := parse(body)
	if err != nil {
		return Plan{}, err
	}
	inside := d.child(0, "Body")
	if !d.is(0, "Envelope") || inside == 0 || d.nodes[inside].first == 0 {
		return Plan{}, malformed("no envelope with a body")
	}
	first := d.nodes[inside].first
	if d.nodes[first].next != 0 || d.nodes[inside].next != 0 && d.child(0, "Body") != inside {
		return Plan{}, malformed("several operations in one call")
	}
	name := string(d.nodes[first].name)
	c, ok := t.calls[name]
	if !ok {
		return Plan{}, ErrOperation
	}
	p := Plan{
		Parts: []proxy.Part{{Action: c.action, Area: c.area, Resource: name}}, Screen: name,
		Kind: proxy.MachineClient, Certainty: audit.Unknown, Source: audit.SourceBody,
	}
	switch {
	case name == "login":
		p.Kind = proxy.LoginKind
	case c.action == policy.Search:
		p.Kind = proxy.SearchKind
	}
	if c.area == policy.Home || c.area == policy.Administration {
		p.Certainty, p.Source = audit.None, audit.SourceNone
	}
	if !machine && !t.openSOAP {
		p.Block = PeopleRefused
	}
	if c.patient {
		if err := d.patientID(first, &p); err != nil {
			return Plan{}, err
		}
	}
	return p, nil
}

// patientID reads the parameter that names the patient.
func (d *document) patientID(operation int, p *Plan) error {
	id := ""
	for i := range d.children(operation) {
		if !d.is(i, "patientId") && !d.is(i, "in0") {
			continue
		}
		text := d.text(i)
		if d.nodes[i].first != 0 || id != "" || text == "" || len(text) > maxIdentifier || strings.Trim(text, "0123456789") != "" {
			return malformed("the patient is not named by one number")
		}
		id = text
	}
	if id == "" {
		return malformed("a call that must name its patient does not")
	}
	p.Patients, p.Certainty = []proxy.Patient{{ID: InternalPrefix + id}}, audit.Authoritative
	return nil
}

// Result reads the result of a call. Elements whose names are in the table
// identifiers name patients. told says that a result without any is nobody's but
// whose the call said.
func (t *Tables) Result(body []byte, told bool) (Seen, error) {
	d, err := parse(body)
	if err != nil {
		return Seen{}, err
	}
	if !d.is(0, "Envelope") {
		return Seen{}, malformed("no envelope")
	}
	n := Seen{Certainty: audit.None}
	fault, content := false, false
	list := patientList{}
	d.within(0, func(i int) {
		fault = fault || d.is(i, "Fault")
		var p proxy.Patient
		for c := range d.children(i) {
			p = p.Join(identified(d.text(c), t.identifiers[string(d.nodes[c].name)]))
		}
		list.add(p)
		switch text := d.text(i); text {
		case "", "true", "false", "TRUE", "FALSE":
		default:
			content = true
		}
	})
	n.Patients = list.all
	n.Results = uint64(len(list.all))
	switch {
	case len(n.Patients) > 1:
		n.Certainty = audit.Several
	case len(n.Patients) == 1:
		n.Certainty = audit.Authoritative
	case content && !fault && !told:
		n.Certainty, n.Stranger = audit.Unknown, true
	}
	return n, nil
}
