package history

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
)

// nhsNumberSystem names NHS numbers in FHIR (UK Core).
const nhsNumberSystem = "https://fhir.nhs.uk/Id/nhs-number"

// bundleSource is a file with one AuditEvent or one Bundle of them a line.
type bundleSource struct {
	lines *intake.Lines
	queue []item // entries of the Bundle that was read last
}

func (s *bundleSource) next() (item, error) {
	for len(s.queue) == 0 {
		it, err := lineSource{s.lines}.next()
		if err != nil || it.err != nil || !bytes.Contains(it.text, []byte(`"Bundle"`)) {
			return it, err
		}
		var b struct {
			ResourceType string `json:"resourceType"`
			Entry        []struct {
				FullURL  string  `json:"fullUrl"`
				Resource rawJSON `json:"resource"`
			} `json:"entry"`
		}
		if err := json.Unmarshal(it.text, &b); err != nil {
			it.err = intake.Mistake(it.text, err)
			return it, nil
		}
		if b.ResourceType != "Bundle" {
			return it, nil
		}
		for i, e := range b.Entry {
			s.queue = append(s.queue, item{line: it.line, text: e.Resource, url: e.FullURL, where: fmt.Sprintf("entry[%d]", i)})
		}
	}
	it := s.queue[0]
	s.queue = s.queue[1:]
	return it, nil
}

// The parts of a FHIR R4 AuditEvent that say who did what, when and to whom.
type (
	event struct {
		ResourceType   string    `json:"resourceType"`
		ID             string    `json:"id"`
		Type           coding    `json:"type"`
		Subtype        []coding  `json:"subtype"`
		Action         string    `json:"action"`
		Recorded       string    `json:"recorded"`
		Outcome        string    `json:"outcome"`
		OutcomeDesc    string    `json:"outcomeDesc"`
		PurposeOfEvent []concept `json:"purposeOfEvent"`
		Agent          []agent   `json:"agent"`
		Source         struct {
			Site     string    `json:"site"`
			Observer reference `json:"observer"`
		} `json:"source"`
		Entity []entity `json:"entity"`
		// Known and of no use here; a narrative may hold names.
		Meta       rawJSON `json:"meta"`
		Rules      rawJSON `json:"implicitRules"`
		Language   rawJSON `json:"language"`
		Narrative  rawJSON `json:"text"`
		Contained  rawJSON `json:"contained"`
		Extension  rawJSON `json:"extension"`
		Modifiers  rawJSON `json:"modifierExtension"`
		Period     rawJSON `json:"period"`
		Unexpected rawJSON `json:",embed"`
	}
	coding struct {
		System string `json:"system"`
		Code   string `json:"code"`
	}
	concept struct {
		Coding []coding `json:"coding"`
	}
	identifier struct {
		System string `json:"system"`
		Value  string `json:"value"`
	}
	reference struct {
		Reference  string     `json:"reference"`
		Identifier identifier `json:"identifier"`
		Display    string     `json:"display"`
	}
	agent struct {
		Type         concept   `json:"type"`
		Role         []concept `json:"role"`
		Who          reference `json:"who"`
		AltID        string    `json:"altId"`
		Requestor    bool      `json:"requestor"`
		PurposeOfUse []concept `json:"purposeOfUse"`
		Network      struct {
			Address string `json:"address"`
			Type    string `json:"type"`
		} `json:"network"`
	}
	entity struct {
		What reference `json:"what"`
		Type coding    `json:"type"`
		Role coding    `json:"role"`
	}
)

var (
	errNoEvent  = errors.New("resourceType: not AuditEvent")
	errNoPerson = errors.New("agent: no requestor with an identifier, a reference or an altId; a name is not enough")
	errNoAction = errors.New("action: neither subtype, type nor action says what was done")
)

// parseEvent reads one AuditEvent. What FHIR has and we do not keep is dropped:
// names, narratives and queries among it.
func (p *Parser) parseEvent(rows []audit.Imported, it item) (_ []audit.Imported, unknown []string, err error) {
	var e event
	if err := json.Unmarshal(it.text, &e); err != nil {
		return rows, nil, intake.Mistake(it.text, err)
	}
	if e.ResourceType != "AuditEvent" {
		return rows, nil, errNoEvent
	}
	f := fields{ID: e.ID, Time: e.Recorded, Reason: e.reason()}
	if f.ID == "" {
		f.ID = it.url
	}
	if f.Action = e.action(); f.Action == "" {
		return rows, nil, errNoAction
	}
	if err := e.people(&f); err != nil {
		return rows, nil, err
	}
	e.things(&f)
	if f.Outcome, err = e.outcome(); err != nil {
		return rows, nil, err
	}
	kept, err := e.extra()
	if err != nil {
		return rows, nil, err
	}
	if f.Extra, unknown, err = intake.Clean(kept, p.hasher); err != nil {
		return rows, nil, err
	}
	unknown = slices.DeleteFunc(unknown, func(name string) bool { return strings.HasPrefix(name, "_") || name == "fhir" })
	rows, err = p.append(rows, &f)
	return rows, unknown, err
}

// action finds the word for what was done: a subtype says it best, then the
// type, then the letter.
func (e *event) action() string {
	for _, c := range append(slices.Clone(e.Subtype), e.Type) {
		if word := actionOf(c.Code); word != "" {
			return word
		}
	}
	switch e.Action {
	case "C":
		return "create"
	case "R":
		return "read"
	case "U":
		return "update"
	case "D":
		return "delete"
	case "E":
		if slices.ContainsFunc(e.Entity, func(x entity) bool { return x.Role.Code == "24" }) { // a query (DICOM object role)
			return "search"
		}
	}
	return ""
}

// actionOf knows the codes of FHIR's RESTful interactions, of the record
// life cycle (ISO 21089) and of DICOM (PS3.16 CID 400 and 401).
func actionOf(code string) string {
	switch code {
	case "read", "vread", "access":
		return "read"
	case "search", "search-type", "search-system":
		return "search"
	case "history", "history-instance", "history-type", "history-system":
		return "list"
	case "create", "originate", "110107": // import
		return "create"
	case "update", "patch", "amend":
		return "update"
	case "delete", "destroy":
		return "delete"
	case "export", "$export", "extract", "110106":
		return "export"
	case "110122":
		return "sign-in"
	case "110123":
		return "sign-out"
	case "110127": // emergency override started
		return "break-glass"
	}
	return ""
}

// people fills in who did it, in which role and why, from where and in what.
func (e *event) people(f *fields) error {
	end := "110153" // the client's end of the exchange sends, or receives what it reads (IHE BALP)
	if f.Action == "read" || f.Action == "list" || f.Action == "export" {
		end = "110152"
	}
	for i := range e.Agent {
		switch a := &e.Agent[i]; {
		case a.Requestor && f.Person == "":
			f.Person, f.Role, f.Purpose = a.person(), firstCode(a.Role), firstCode(a.PurposeOfUse)
		case !a.Requestor && a.is(end):
			a.place(f)
		}
	}
	for i := range e.Agent {
		if a := &e.Agent[i]; !a.Requestor && a.is("110150") { // the application, or where it runs
			if a.Network.Address == "" {
				f.App = a.Who.label()
			}
			a.place(f)
		}
	}
	if f.Person == "" {
		return errNoPerson
	}
	if f.Purpose == "" {
		f.Purpose = firstCode(e.PurposeOfEvent)
	}
	if f.Purpose == "BTG" {
		yes := true
		f.BreakGlass = &yes
	}
	if f.Source = e.Source.Observer.label(); f.Source == "" {
		_, f.Source = split(e.Source.Observer.Reference)
	}
	return nil
}

// place fills in where the exchange came from, unless that is known.
func (a *agent) place(f *fields) {
	if f.IP != "" || f.Device != "" {
		return
	}
	switch a.Network.Type {
	case "1": // machine name
		f.Device = a.Network.Address
	case "2": // IP address
		f.IP, f.Device = a.Network.Address, a.Who.label()
	}
}

func (a *agent) is(code string) bool {
	return slices.ContainsFunc(a.Type.Coding, func(c coding) bool { return c.Code == code })
}

// person is the stable id of an agent. A display name never is one.
func (a *agent) person() string {
	if a.Who.Identifier.Value != "" {
		return a.Who.Identifier.Value
	}
	if _, id := split(a.Who.Reference); id != "" {
		return id
	}
	return a.AltID
}

// label names a machine or a program.
func (r reference) label() string {
	if r.Identifier.Value != "" {
		return r.Identifier.Value
	}
	return r.Display
}

// things fills in the patients and what of theirs it was.
func (e *event) things(f *fields) {
	var patients []string
	for i := range e.Entity {
		x := &e.Entity[i]
		kind, id := split(x.What.Reference)
		number := x.What.Identifier
		switch {
		case kind == "Patient" || x.Type.Code == "1" && x.Role.Code == "1":
			if number.System == nhsNumberSystem {
				f.NHSNumber = number.Value
			} else if id == "" {
				id = number.Value
			}
			if id != "" {
				patients = append(patients, id)
			}
		case f.Resource == "":
			f.Resource = kind
		}
	}
	if len(patients) == 1 {
		f.Patient = patients[0]
	} else if len(patients) > 1 {
		f.Patients, f.NHSNumber = patients, "" // whose it is cannot be said any more
	}
}

func (e *event) reason() string {
	if e.action() == "break-glass" {
		return e.OutcomeDesc // what the person gave as a reason
	}
	return ""
}

// outcome tells a refusal from a failure only where the event says so: the
// codes 4, 8 and 12 are grades of failure.
func (e *event) outcome() (string, error) {
	switch e.Outcome {
	case "":
		return "", nil
	case "0":
		return "success", nil
	case "4", "8", "12":
		if slices.ContainsFunc(e.Subtype, func(c coding) bool { return strings.HasPrefix(c.Code, "AuthZ") || c.Code == "deny" }) {
			return "denied", nil
		}
		return "failed", nil
	}
	return "", errors.New("outcome: not one of 0, 4, 8, 12")
}

// extra is what is kept besides: what there is no column for, and what FHIR R4
// does not have.
func (e *event) extra() (rawJSON, error) {
	type own struct {
		Site     string   `json:"site,omitzero"`
		Request  string   `json:"request,omitzero"`
		Entities []string `json:"entities,omitzero"`
	}
	kept := struct {
		FHIR       own     `json:"fhir,omitempty"`
		Unexpected rawJSON `json:",embed"`
	}{own{Site: e.Source.Site}, e.Unexpected}
	for i := range e.Entity {
		x := &e.Entity[i]
		if x.Type.Code == "XrequestId" {
			kept.FHIR.Request = x.What.Identifier.Value
		} else if kind, _ := split(x.What.Reference); kind != "" && kind != "Patient" {
			kept.FHIR.Entities = append(kept.FHIR.Entities, x.What.Reference)
		}
	}
	out, err := json.Marshal(kept)
	switch {
	case err != nil:
		return nil, errors.New("fields that are not known cannot be kept")
	case string(out) == "{}":
		return nil, nil
	}
	return out, nil
}

// firstCode is the first code of a list of concepts.
func firstCode(list []concept) string {
	for _, c := range list {
		for _, code := range c.Coding {
			if code.Code != "" {
				return code.Code
			}
		}
	}
	return ""
}

// split takes a reference such as Patient/123 apart, absolute or not, with or
// without a version.
func split(reference string) (kind, id string) {
	reference, _, _ = strings.Cut(reference, "/_history/")
	rest, id, ok := cutLast(reference)
	if !ok {
		return "", reference
	}
	if _, last, ok := cutLast(rest); ok {
		return last, id
	}
	return rest, id
}

func cutLast(s string) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
