package appmap

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// What the methods of Tryton's models do, as the table operations has it.
const (
	trytonRead     = "read"        // ids, fields: a list of records
	trytonSearch   = "search"      // domain: a list of ids
	trytonFind     = "search-read" // domain, fields: a list of records
	trytonCount    = "count"       // domain: a number
	trytonCreate   = "create"      // a list of values: a list of ids
	trytonWrite    = "write"       // ids, values, and so on in turn: nothing
	trytonDelete   = "delete"      // ids: nothing
	trytonCopy     = "copy"        // ids: a list of ids
	trytonExport   = "export"      // ids, fields: a table of values
	trytonDefaults = "defaults"    // fields: the values of a new record
	trytonChange   = "change"      // the values of a record: those that follow from them
	trytonView     = "view"        // how a form looks, no record
)

// What the table subjects says besides the name of the field that holds the patient.
const (
	trytonSelf   = "self"   // the record is the patient
	trytonNobody = "nobody" // records are about no patient
)

// trytonCall is one call of Tryton's JSON-RPC: kind.model.method and parameters.
type trytonCall struct {
	method              string // whole
	kind, model, action string
	params              []any
	id                  string // as it stands in the request
}

// trytonRequest reads a call. A call names records of one model; which of their
// fields holds the patient is in the table subjects.
func trytonRequest(x *exchange, a *proxy.Access) error {
	c, err := readTrytonCall(x)
	if err != nil {
		return err
	}
	a.Reply = c.id
	if area, ok := x.m.tables["calls"][c.method]; ok {
		a.Action, a.Area = policy.Read, policy.Area(area)
		a.Certainty, a.Source = audit.None, audit.SourceNone
		return nil
	}
	switch c.kind {
	case "model":
		return x.m.trytonModel(&c, a)
	case "report":
		if c.action == "execute" {
			return trytonReport(&c, a)
		}
	}
	return unmappedSince("the call is in none of the tables calls and operations")
}

func readTrytonCall(x *exchange) (trytonCall, error) {
	doc, err := x.json()
	if err != nil {
		return trytonCall{}, err
	}
	o, ok := doc.(*object)
	if !ok {
		return trytonCall{}, malformed("body: not one call")
	}
	c := trytonCall{method: o.text("method")}
	first, last := strings.Index(c.method, "."), strings.LastIndex(c.method, ".")
	if first < 0 {
		return trytonCall{}, malformed("body: no method")
	}
	c.kind, c.action = c.method[:first], c.method[last+1:]
	if first < last {
		c.model = c.method[first+1 : last]
	}
	switch params, _ := o.get("params"); params := params.(type) {
	case nil:
	case []any:
		c.params = params
	default:
		return trytonCall{}, malformed("body: params is no list")
	}
	switch id, _ := o.get("id"); id := id.(type) {
	case nil:
	case json.Number:
		c.id = id.String()
	default:
		return trytonCall{}, malformed("body: id is no number")
	}
	return c, nil
}

// param is a parameter, nil where there is none.
func (c *trytonCall) param(i int) any {
	if i >= len(c.params) {
		return nil
	}
	return c.params[i]
}

// trytonModel is a call of a model's method.
func (m *Map) trytonModel(c *trytonCall, a *proxy.Access) error {
	operation, known := m.tables["operations"][c.action]
	area, mapped := m.tables["areas"][c.model]
	if !known || !mapped {
		return unmappedSince("the model or its method is not in the tables areas and operations")
	}
	subject := m.tables["subjects"][c.model]
	a.Area, a.Resource, a.Screen = policy.Area(area), c.model, c.action
	a.Action, a.Kind = trytonActionOf(operation)
	if subject == trytonNobody || operation == trytonView {
		a.Certainty, a.Source = audit.None, audit.SourceNone
		return nil
	}
	named, all, err := c.patients(operation, subject)
	if err != nil {
		return err
	}
	a.Patients = named
	a.Certainty, a.Source = certaintyOf(named), ""
	if len(named) > 0 {
		a.Source = audit.SourceBody
	}
	if !all {
		a.Certainty = audit.Unknown
	}
	a.Hold = a.Certainty == audit.Unknown && (!trytonMute(operation) || operation == trytonCreate && subject == trytonSelf)
	return nil
}

func trytonActionOf(operation string) (policy.Action, proxy.LimitKind) {
	switch operation {
	case trytonSearch, trytonFind, trytonCount:
		return policy.Search, proxy.SearchKind
	case trytonCreate, trytonCopy:
		return policy.Create, proxy.Interactive
	case trytonWrite:
		return policy.Update, proxy.Interactive
	case trytonDelete:
		return policy.Delete, proxy.Interactive
	case trytonExport:
		return policy.Export, proxy.Bulk
	}
	return policy.Read, proxy.Interactive
}

// trytonMute reports whether the answer of an operation names nobody, so that who
// is meant must be known before.
func trytonMute(operation string) bool {
	return slices.Contains([]string{trytonCreate, trytonWrite, trytonDelete, trytonCopy}, operation)
}

// patients are those whom a call names, and whether it can be about nobody else.
func (c *trytonCall) patients(operation, subject string) (named []proxy.Patient, all bool, err error) {
	switch operation {
	case trytonRead, trytonDelete, trytonExport, trytonCopy:
		ids, err := trytonIDs(c.param(0))
		if err != nil || subject != trytonSelf {
			return nil, false, err
		}
		return ids, len(ids) > 0, nil
	case trytonWrite:
		return c.written(subject)
	case trytonCreate:
		if subject == trytonSelf {
			return nil, false, nil // somebody new: the answer says under which number
		}
		return trytonValues(c.param(0), subject)
	case trytonChange:
		return trytonValues([]any{c.param(0)}, subject)
	}
	return nil, false, nil
}

// written reads ids and values in turn. Of a record that is not a patient's own,
// nobody here knows whose it is; the values may say whose it becomes.
func (c *trytonCall) written(subject string) (named []proxy.Patient, all bool, err error) {
	all = subject == trytonSelf
	for i := 0; i < len(c.params); i++ {
		if o, is := c.params[i].(*object); is {
			if !all {
				becomes, _, err := trytonValues([]any{o}, subject)
				if err != nil {
					return nil, false, err
				}
				named = append(named, becomes...)
			}
			continue
		}
		ids, err := trytonIDs(c.params[i])
		if err != nil {
			return nil, false, err
		}
		if all {
			for _, p := range ids {
				named = addPatient(named, p)
			}
		}
	}
	return named, all && len(named) > 0, nil
}

// trytonIDs reads a list of numbers of records.
func trytonIDs(v any) ([]proxy.Patient, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, malformed("body: no list of ids")
	}
	if len(list) > maxPatients {
		return nil, malformed("body: too many ids")
	}
	var ids []proxy.Patient
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		id, ok := trytonID(v)
		if !ok {
			return nil, malformed("body: an id is no number")
		}
		if !seen[id] {
			seen[id], ids = true, append(ids, proxy.Patient{ID: id})
		}
	}
	return ids, nil
}

// trytonID is the number of a record that exists: those of new ones are below zero.
func trytonID(v any) (string, bool) {
	n, ok := v.(json.Number)
	return n.String(), ok && only(n.String(), "0123456789") && n.String() != "0" && n.String() != ""
}

// trytonValues reads whom lists of values are about.
func trytonValues(v any, subject string) (named []proxy.Patient, all bool, err error) {
	list, ok := v.([]any)
	if !ok {
		return nil, false, malformed("body: no list of values")
	}
	if subject == trytonSelf {
		subject = "id"
	}
	all = len(list) > 0
	for _, v := range list {
		o, ok := v.(*object)
		if !ok {
			return nil, false, malformed("body: values are no object")
		}
		value, _ := o.get(subject)
		id, ok := trytonID(value)
		if !ok {
			all = false
			continue
		}
		if named = addPatient(named, proxy.Patient{ID: id}); len(named) > maxPatients {
			return nil, false, malformed("body: too many patients are named")
		}
	}
	return named, all, nil
}

// trytonReport makes a document of records. Only where they are patients it is
// known whose it is: the answer is a file.
func trytonReport(c *trytonCall, a *proxy.Access) error {
	ids, err := trytonIDs(c.param(0))
	if err != nil {
		return err
	}
	a.Action, a.Area, a.Resource, a.Screen = policy.Print, policy.Documents, c.model, c.action
	a.Certainty, a.Hold = audit.Unknown, true
	if data, ok := c.param(1).(*object); ok && data.text("model") == "gnuhealth.patient" && len(ids) > 0 {
		a.Patients, a.Certainty, a.Source, a.Hold = ids, certaintyOf(ids), audit.SourceBody, false
	}
	return nil
}

// trytonAnswer reads whom a result shows.
func trytonAnswer(n *answer) (found, error) {
	if n.body.Len() == 0 {
		return found{}, nil
	}
	doc, err := n.document()
	if err != nil {
		return found{}, err
	}
	o, ok := doc.(*object)
	if n.failed() || !ok {
		if !n.failed() {
			return found{}, unreadable("the response is no answer to a call")
		}
		return found{}, nil
	}
	if problem, there := o.get("error"); there && problem != nil {
		return found{nameless: 1}, nil // its text may quote a record
	}
	result, there := o.get("result")
	if !there {
		return found{}, unreadable("the response is no answer to a call")
	}
	return n.m.trytonResult(n.access, result)
}

func (m *Map) trytonResult(a proxy.Access, result any) (found, error) {
	operation, subject := m.tables["operations"][a.Screen], m.tables["subjects"][a.Resource]
	f := found{seen: true}
	list, isList := result.([]any)
	switch operation {
	case trytonRead, trytonFind, trytonDefaults, trytonChange:
		if o, one := result.(*object); one {
			list = []any{o}
		} else if !isList {
			return found{}, unreadable("the result holds no records")
		}
		named, all, err := trytonValues(list, subject)
		if err != nil {
			return found{}, unreadable("the result holds no records")
		}
		f.patients, f.results = named, uint64(len(list))
		if !all && len(list) > 0 && operation != trytonDefaults {
			f.nameless = 1
		}
	case trytonSearch, trytonCreate:
		ids, err := trytonIDs(result)
		if err != nil {
			return found{}, unreadable("the result holds no ids")
		}
		f.results = uint64(len(list))
		if subject == trytonSelf {
			f.patients = ids
		}
	case trytonCount:
		if _, number := result.(json.Number); !number {
			return found{}, unreadable("the result is no number")
		}
	default:
		f.nameless = 1
	}
	return f, nil
}

// trytonExtractor is how the calls are read.
func trytonExtractor() extractor {
	return extractor{
		name: "tryton.call", tables: []string{"calls", "operations", "areas", "subjects"},
		request: trytonRequest, response: trytonAnswer,
	}
}

// trytonOperations are the words of the table operations.
func trytonOperations() []string {
	return []string{
		trytonRead, trytonSearch, trytonFind, trytonCount, trytonCreate, trytonWrite, trytonDelete,
		trytonCopy, trytonExport, trytonDefaults, trytonChange, trytonView,
	}
}

// trytonTables checks what only the extractor makes use of.
func (c *compiler) trytonTables(f *file) {
	if !slices.ContainsFunc(f.Rules, func(r ruleFile) bool { return r.Use == "tryton.call" }) {
		return
	}
	for _, t := range []struct {
		name  string
		words []string
	}{{"calls", areas()}, {"areas", areas()}, {"operations", trytonOperations()}} {
		for _, key := range keys(f.Tables[t.name]) {
			c.choice("tables."+t.name+"."+key, f.Tables[t.name][key], t.words...)
		}
	}
}
