package appmap

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap/openmaxims"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// Parse reads a map. name is used in messages only. The error lists every
// mistake, each as file:line:column with the setting and what to do.
func Parse(name string, src []byte) (*Map, error) {
	var f file
	doc := strictyaml.Decode(name, src, &f)
	c := compiler{doc: doc, tables: map[string]table{}}
	c.extend(&f)
	m := c.compile(&f)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	m.index()
	return m, nil
}

// toFill stands where a proposed map leaves something to a person.
const toFill = "TODO"

// compiler turns a file into a Map and reports every mistake on the way.
type compiler struct {
	doc    *strictyaml.Document
	tables map[string]table
}

func (c *compiler) compile(f *file) *Map {
	m := &Map{app: f.App, base: strings.TrimSuffix(f.Base, "/"), tables: c.tables}
	if f.App == "" {
		c.doc.Report("app", "is missing: name the application")
	}
	if f.Base != "" && !strings.HasPrefix(f.Base, "/") {
		c.doc.Report("base", "must start with /")
	}
	for _, name := range keys(f.Tables) {
		if isClass(name) {
			c.doc.Report("tables."+name, "is the name of a built-in class: choose another")
		}
		c.tables[name] = f.Tables[name]
	}
	c.options(f)
	c.trytonTables(f)
	deny := c.choice("deny", f.Deny, denyForms()...)
	m.redact = c.redactions("redact", f.Redact)
	for i := range f.Rules {
		r := c.rule(fmt.Sprintf("rules[%d]", i), &f.Rules[i])
		if r.deny == "" {
			r.deny = proxy.DenyForm(deny)
		}
		r.redact = append(r.redact, m.redact...)
		c.checkOrder(fmt.Sprintf("rules[%d]", i), m.rules, r)
		m.rules = append(m.rules, r)
	}
	m.follow = c.follow(f)
	return m
}

func denyForms() []string {
	return []string{
		string(proxy.DenyAuto), string(proxy.DenyProblem), string(proxy.DenyOperationOutcome),
		string(proxy.DenyMessages), string(proxy.DenySOAPFault), string(proxy.DenyTryton),
		string(proxy.DenyOpenMRS), string(proxy.DenyOpenEHR),
	}
}

func (c *compiler) rule(path string, f *ruleFile) *rule {
	r := &rule{
		id: f.ID, nobody: f.NoPatient, others: f.Others, static: f.Static, keepAlive: f.KeepAlive, block: f.Block,
		kind:       proxy.LimitKind(c.choice(path+".limit", f.Limit, "", string(proxy.Interactive), string(proxy.SearchKind), string(proxy.Bulk), string(proxy.MachineClient))),
		deny:       proxy.DenyForm(c.choice(path+".deny", f.Deny, denyForms()...)),
		deliberate: c.choice(path+".deliberate", f.Deliberate, "", "true", "false"),
		redact:     c.redactions(path+".redact", f.Redact),
	}
	if r.kind == "" {
		r.kind = proxy.Interactive
	}
	if f.ID == "" {
		c.doc.Report(path, "has no id: give each rule one, it is the route in every record")
	}
	c.match(path+".match", &f.Match, r)
	r.action = c.decided(path+".action", f.Action, r, actions())
	r.area = c.decided(path+".area", f.Area, r, areas())
	r.screen = c.value(path+".screen", f.Screen, r)
	r.resource = c.value(path+".resource", f.Resource, r)
	r.resourceID = c.value(path+".resource-id", f.ResourceID, r)
	r.version = c.value(path+".version", f.Version, r)
	r.patients = c.patients(path+".patient", f.Patient, r)
	c.use(path, f, r)
	c.response(path, f, r)
	if f.Others && len(f.Patient) == 0 {
		c.doc.Report(path+".others", "is besides those whom patient names: say where, or remove it")
	}
	if f.NoPatient && (len(f.Patient) > 0 || f.Response != nil) {
		c.doc.Report(path+".no-patient", "contradicts patient and response: remove the one or the others")
	}
	return r
}

// options checks the table of settings for the extractors.
func (c *compiler) options(f *file) {
	known := fhirOptions()
	maps.Copy(known, openmaxims.Options())
	known[gzipOption] = []string{"refuse", "read"}
	for _, name := range keys(f.Tables["options"]) {
		if allowed, ok := known[name]; ok {
			c.choice("tables.options."+name, f.Tables["options"][name], allowed...)
			continue
		}
		c.doc.Report("tables.options."+name, "is no option"+didYouMean(name, keys(known)))
	}
}

func actions() []string {
	return []string{
		string(policy.Read), string(policy.Search), string(policy.List), string(policy.Create),
		string(policy.Update), string(policy.Delete), string(policy.Print), string(policy.Export),
	}
}

// areas are those of applications. Matron's own pages have others.
func areas() []string {
	return []string{
		string(policy.Demographics), string(policy.Encounters), string(policy.Notes), string(policy.Results),
		string(policy.Prescribing), string(policy.Theatres), string(policy.Documents), string(policy.Administration), string(policy.Home),
	}
}

func (c *compiler) choice(path, got string, allowed ...string) string {
	if slices.Contains(allowed, got) {
		return got
	}
	named := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	c.doc.Report(path, fmt.Sprintf("%q is not allowed here%s", got, didYouMean(got, named)))
	return ""
}

func (c *compiler) match(path string, f *matchFile, r *rule) {
	var err error
	if r.pattern, err = parsePattern(f.Path, c.tables); err != nil {
		c.doc.Report(path+".path", err.Error())
	}
	if len(f.Method) == 0 {
		c.doc.Report(path+".method", "is missing: list the methods, for example [GET]")
	}
	known := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	for i, method := range f.Method {
		r.methods = append(r.methods, c.choice(fmt.Sprintf("%s.method[%d]", path, i), method, known...))
	}
	for _, name := range keys(f.Query) {
		r.conditions = append(r.conditions, condition{&source{kind: fromQuery, name: name}, f.Query[name]})
	}
	for _, name := range keys(f.Header) {
		r.conditions = append(r.conditions, condition{&source{kind: fromHeader, name: name}, f.Header[name]})
	}
	if f.Content != "" {
		r.conditions = append(r.conditions, condition{&source{kind: fromContent, name: "Content-Type"}, f.Content})
	}
	for _, place := range keys(f.Body) {
		s, err := parseSource(place)
		if err == nil && s.kind != fromJSON && s.kind != fromForm {
			err = fmt.Errorf("%q is not in the body: write json:/pointer or form:field", place)
		}
		if err != nil {
			c.doc.Report(path+".body."+place, err.Error())
			continue
		}
		r.conditions = append(r.conditions, condition{s, f.Body[place]})
	}
}

// decided reads an action or an area: a literal, or a lookup in a table that
// yields known words only. A bare place is refused, since a client could then
// choose what it is asked for.
func (c *compiler) decided(path, text string, r *rule, known []string) value {
	if text == "" {
		if !r.static && !r.block {
			c.doc.Report(path, "is missing: without it the exchange is never allowed")
		}
		return value{}
	}
	v := c.value(path, text, r)
	switch {
	case text == toFill:
		c.doc.Report(path, "is still to be filled in: choose one of "+strings.Join(known, ", "))
	case v.from == nil && v.literal != "":
		c.choice(path, v.literal, known...)
	case v.from != nil && v.table == nil:
		c.doc.Report(path, "must be one word or a table: a client must not choose it")
	}
	for _, key := range keys(v.table) {
		if !slices.Contains(known, v.table[key]) {
			c.doc.Report(path, fmt.Sprintf("%q of the table (at %s) is not allowed here%s", v.table[key], key, didYouMean(v.table[key], slices.Clone(known))))
		}
	}
	return v
}

func (c *compiler) value(path, text string, r *rule) value {
	if text == "" {
		return value{}
	}
	v, err := parseValue(text, c.tables)
	if err != nil {
		c.doc.Report(path, err.Error())
		return value{}
	}
	c.checkCapture(path, v.from, r)
	return v
}

func (c *compiler) checkCapture(path string, s *source, r *rule) {
	if s == nil || s.kind != fromPath || r.pattern.index(s.name) >= 0 {
		return
	}
	names := []string{}
	for i := range r.pattern.segments {
		if n := r.pattern.segments[i].capture; n != "" {
			names = append(names, n)
		}
	}
	c.doc.Report(path, fmt.Sprintf("the path captures no %q%s", s.name, didYouMean(s.name, names)))
}

func (c *compiler) patients(path string, list []patientFile, r *rule) []patientSource {
	var all []patientSource
	for i := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if list[i].Value == toFill {
			c.doc.Report(at+".value", "is still to be filled in: write where the patient is named, or no-patient: true in place of it")
			continue
		}
		s, err := parseSource(list[i].Value)
		if err != nil {
			c.doc.Report(at+".value", err.Error())
			continue
		}
		if r != nil {
			c.checkCapture(at+".value", s, r)
		}
		system := c.choice(at+".system", list[i].System, "", "local", "nhs-number")
		all = append(all, patientSource{from: s, nhs: system == "nhs-number", many: list[i].Many})
	}
	return all
}

func (c *compiler) use(path string, f *ruleFile, r *rule) {
	if f.Use == "" {
		return
	}
	e, ok := builtinExtractor(f.Use)
	if !ok {
		c.doc.Report(path+".use", fmt.Sprintf("there is no extractor %q%s", f.Use, didYouMean(f.Use, extractorNames())))
		return
	}
	if f.Response != nil && e.holds() {
		c.doc.Report(path+".response", fmt.Sprintf("%s reads the response itself: remove response", f.Use))
	}
	for _, t := range e.tables {
		if _, ok := c.tables[t]; !ok {
			c.doc.Report(path+".use", fmt.Sprintf("%s needs the table %q", f.Use, t))
		}
	}
	r.extractor = &e
}

func (c *compiler) response(path string, f *ruleFile, r *rule) {
	phase := c.choice(path+".phase", f.Phase, "", "request", "response")
	held := f.Response != nil || r.extractor != nil && r.extractor.holds()
	switch {
	case phase == "request" && f.Response != nil:
		c.doc.Report(path+".phase", "request contradicts response: remove the one or the other")
	case phase == "response" && !held:
		c.doc.Report(path+".phase", "response needs response: say where it names patients")
	}
	if f.Response == nil {
		return
	}
	rr := &responseRule{
		counted: f.Response.Each != "", handles: f.Response.Handles, complete: f.Response.Complete,
		patients: c.patients(path+".response.patient", f.Response.Patient, nil),
	}
	if rr.counted {
		s, err := parseSource(f.Response.Each)
		if err == nil && s.kind != fromJSON {
			err = fmt.Errorf("%q cannot be counted: write json:/pointer", f.Response.Each)
		}
		if err == nil && slices.Contains(s.pointer, anyDepth) {
			err = fmt.Errorf("%q could be in itself: write the way to the list without **", f.Response.Each)
		}
		if err != nil {
			c.doc.Report(path+".response.each", err.Error())
		} else {
			rr.each = s.pointer
		}
	}
	c.checkResponse(path+".response", rr, len(f.Response.Patient))
	r.response = rr
}

func (c *compiler) checkResponse(path string, rr *responseRule, declared int) {
	if declared == 0 {
		c.doc.Report(path+".patient", "is missing: say where the response names patients")
	}
	for i := range rr.patients {
		switch s := rr.patients[i].from; s.kind {
		case fromJSON, fromHeader, fromDICOM:
		default:
			c.doc.Report(fmt.Sprintf("%s.patient[%d].value", path, i), "is no place in a response: write json:, header: or dicom:")
		}
	}
}

// redactions reads the places that hold secrets. Headers and bodies never get
// into a record, so that only query parameters can be named.
func (c *compiler) redactions(path string, places []string) []string {
	var names []string
	for i, p := range places {
		s, err := parseSource(p)
		if err == nil && s.kind != fromQuery {
			err = fmt.Errorf("%q never gets into a record: only query:NAME can", p)
		}
		if err != nil {
			c.doc.Report(fmt.Sprintf("%s[%d]", path, i), err.Error())
			continue
		}
		names = append(names, s.name)
	}
	return names
}

// checkOrder reports a rule whose id is taken, or that an earlier rule hides.
func (c *compiler) checkOrder(path string, earlier []*rule, r *rule) {
	for _, e := range earlier {
		if e.id == r.id && r.id != "" {
			c.doc.Report(path+".id", fmt.Sprintf("%q is the id of an earlier rule: ids must be unique", r.id))
		}
	}
	for _, e := range earlier {
		if e.hides(r) {
			c.doc.Report(path, fmt.Sprintf("can never match: rule %q before it matches everything that it does. Move it up or remove it", e.id))
			return
		}
	}
}

// hides reports whether every request that o matches is matched by r first.
func (r *rule) hides(o *rule) bool {
	for _, m := range o.methods {
		if !slices.Contains(r.methods, m) {
			return false
		}
	}
	for _, c := range r.conditions {
		if !slices.ContainsFunc(o.conditions, func(oc condition) bool {
			return oc.want == c.want && oc.from.kind == c.from.kind && oc.from.name == c.from.name
		}) {
			return false
		}
	}
	return r.pattern.covers(&o.pattern)
}
