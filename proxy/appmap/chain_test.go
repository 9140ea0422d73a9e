package appmap

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// configured is the FHIR map with options of its own.
func configured(t *testing.T, options string) *Map {
	t.Helper()
	src, err := builtin.ReadFile("maps/fhir-r4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const line = "options: {chains: refuse, graphql: refuse}"
	text := strings.Replace(string(src), line, "options: {"+options+"}", 1)
	if text == string(src) && options != "chains: refuse, graphql: refuse" {
		t.Fatalf("the map has no %q", line)
	}
	m, err := Parse("fhir-r4.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A narrowed chain tells something of the patients that the search names, and of
// every type on its way: all of that is decided and recorded.
func TestNarrowedChains(t *testing.T) {
	m := configured(t, "chains: narrow")
	for _, row := range []struct {
		target string
		parts  string // resources decided, "" means unmapped
	}{
		{"/Patient?_id=p1&_has:Observation:patient:code=hiv", "Patient Observation"},
		{"/Patient?_id=p1&_has:Observation:patient:_has:Provenance:target:recorded=2026", "Patient Observation Provenance"},
		{"/Observation?patient=p1&encounter:Encounter.location:Location.name=x", "Observation Encounter Location"},
		{"/Observation?patient=p1&subject.name=x", "Observation Patient"},
		{"/Observation?patient=p1&performer.name=x", ""},
		{"/Observation?patient=p1&performer:Frobnicate.name=x", ""},
		{"/Observation?patient=p1&performer:Practitioner._filter=x", ""},
		{"/Observation?subject.name=x", ""},
		{"/Patient?_has:Observation:patient:code=hiv", ""},
		{"/Patient?name=x&_has:Observation:patient:code=hiv", ""},
		{"/Patient?_id=p1&_has=x", ""},
	} {
		got := try(t, m, "GET", row.target, "", "")
		var parts []string
		for _, p := range got.Access.Parts {
			parts = append(parts, p.Resource)
		}
		if strings.Join(parts, " ") != row.parts || (row.parts == "") != (got.Unmapped != nil) {
			t.Errorf("%s: %v, %v %v", row.target, parts, got.Unmapped, got.Refused)
		}
		if row.parts != "" && (!cmp.Equal(ids(got.Access.Patients), []string{"p1"}) || !got.Access.Hold) {
			t.Errorf("%s: %+v", row.target, got.Access)
		}
		if asked := try(t, configured(t, "chains: refuse"), "GET", row.target, "", ""); asked.Unmapped == nil {
			t.Errorf("%s is not refused: %+v", row.target, asked.Access)
		}
	}
	if got := try(t, m, "GET", "/Patient?_id=p1&_has:Observation:patient=x", "", ""); !errors.Is(got.Refused, ErrMalformed) {
		t.Errorf("a broken _has: %+v", got)
	}
}

func TestConfiguredGraphQL(t *testing.T) {
	m := configured(t, "graphql: unknown")
	got := try(t, m, "GET", "/$graphql?query=x", "", "")
	if got.Unmapped != nil || got.Access.Certainty != audit.Unknown || !got.Access.Hold || len(got.Access.Parts) != 8 {
		t.Errorf("at the base: %v %+v", got.Unmapped, got.Access)
	}
	got = try(t, m, "GET", "/Patient/p1/$graphql?query=x", "", "")
	if got.Unmapped != nil || got.Access.Certainty != audit.Unknown || !cmp.Equal(ids(got.Access.Patients), []string{"p1"}) {
		t.Errorf("of a patient: %v %+v", got.Unmapped, got.Access)
	}
	if got := try(t, m, "GET", "/Observation/p1/$graphql?query=x", "", ""); len(got.Access.Patients) > 0 {
		t.Errorf("of an observation: %+v", got.Access)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Parse("m.yaml", []byte("app: x\ntables: {options: {chains: narow, chain: refuse}}\nrules: []\n"))
	if err == nil || !strings.Contains(err.Error(), `"narow" is not allowed here. Did you mean narrow?`) ||
		!strings.Contains(err.Error(), "tables.options.chain: is no option. Did you mean chains?") {
		t.Errorf("got %v", err)
	}
}
