package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// TestGW19BypassBesideARunningGateway is an emergency as staff live through it:
// two people begin a bypass by command, care goes on, all of it is recorded and
// shown, a restart changes nothing, and the end is the end.
// hazard:GW-19 control:C-75
// hazard:GW-19 control:C-79
func TestGW19BypassBesideARunningGateway(t *testing.T) {
	t.Parallel()
	upstream := serve(t, http.NotFoundHandler())
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", upstream))
	key := func(name string) string { return filepath.Join(s.dir, name+".key") }
	for _, name := range []string{"ann", "bob"} {
		s.run("bypass", "key", "--name", name, "--out", key(name))
	}
	s.edit("applications:", "bypass: {people: [{name: ann, key_file: ann.key.pub}, {name: bob, key_file: bob.key.pub}]}\napplications:")
	s.start()
	answers := func(want int) {
		t.Helper()
		doctor := s.as("doctor")
		s.eventually("the gateway does as it is told", func() error {
			if status, _ := s.send(doctor, http.MethodGet, "/fhir/Nothing", "", nil); status != want {
				return fmt.Errorf("GET /fhir/Nothing: %d, want %d", status, want)
			}
			return nil
		})
	}
	answers(http.StatusForbidden)
	asked := s.run("bypass", "start", "-c", s.config, "--app", "fhir", "--for", "30m", "--reason", "charts do not open", "--name", "ann", "--key", key("ann"))
	id := regexp.MustCompile(`B[0-9a-f]{8}`).FindString(asked)
	if id == "" || !strings.Contains(asked, "waits until") {
		t.Fatalf("start: %s", asked)
	}
	if out, err := command(t, "bypass", "approve", id, "-c", s.config, "--name", "ann", "--key", key("ann")).CombinedOutput(); err == nil {
		t.Errorf("ann approves what she asked for: %s", out)
	}
	s.run("bypass", "approve", id, "-c", s.config, "--name", "bob", "--key", key("bob"))
	answers(http.StatusNotFound) // the application's own answer
	shown := func() {
		t.Helper()
		if got := s.metric("matron_applications_bypassed"); got != "1" {
			t.Errorf("matron_applications_bypassed %s", got)
		}
		if c := s.readyCheck("modes (not required)"); c.OK || !strings.Contains(c.Note, "fhir bypass until ") {
			t.Errorf("/readyz: %+v", c)
		}
		if got := s.run("bypass", "status", "-c", s.config); !strings.Contains(got, "in force until") {
			t.Errorf("status: %s", got)
		}
		if status, body := s.send(s.as(hospital.SecurityAnalyst), http.MethodGet, "/.matron/health", "", nil); status != http.StatusOK ||
			!strings.Contains(string(body), "asked for by ann, approved by bob") || !strings.Contains(string(body), "charts do not open") {
			t.Errorf("health page: %d %s", status, body)
		}
	}
	shown()
	s.stop()
	s.start()
	answers(http.StatusNotFound)
	shown()
	s.run("bypass", "end", id, "-c", s.config, "--reason", "mended")
	answers(http.StatusForbidden)
	s.eventually("the end is recorded", func() error {
		if n := s.verify().Kinds[audit.KindBypass]; n != 5 {
			return fmt.Errorf("%d records of bypasses", n)
		}
		return nil
	})
	var searchable waivedReport
	s.eventually("the report is counted in ClickHouse", func() error {
		searchable = s.observed()
		if searchable.Counted != "ClickHouse" || len(searchable.Rows) != 1 {
			return fmt.Errorf("%+v", searchable)
		}
		return nil
	})
	s.stop()
	records := s.records()
	if err := bypassRecords(records); err != nil {
		t.Error(err)
	}
	read := s.observed()
	if read.Counted != "the journal" || read.Rows[0].Route != "" || read.Rows[0].Mode != "bypass" || read.Rows[0].Reason != audit.ReasonUnmapped || read.Rows[0].People != 1 {
		t.Errorf("report: %+v", read)
	}
	if diff := cmp.Diff(searchable.Waived, read.Waived); diff != "" {
		t.Errorf("ClickHouse and the journal differ (-ClickHouse +journal):\n%s", diff)
	}
	if against := read.Against["fhir"]; len(against) != 1 || !strings.Contains(against[0], " on 1 route that the map does not know") {
		t.Errorf("against enforcing: %v", against)
	}
	text := s.run("observe", "report", "-c", s.config, "--app", "fhir")
	if !strings.Contains(text, "(not in the map)") || strings.Contains(text, "Nothing") {
		t.Errorf("report: %s", text)
	}
	for _, r := range records {
		if r.Person != "" && strings.Contains(text, r.Person) || r.UserName != "" && strings.Contains(text, r.UserName) {
			t.Errorf("the report names somebody: %s", text)
		}
	}
}

// waivedReport is what "matron observe report --json" prints.
type waivedReport struct {
	Counted string `json:"counted_in"`
	audit.Waived
	Against map[string][]string `json:"against_enforcing"`
}

func (s *site) observed() (r waivedReport) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.run("observe", "report", "-c", s.config, "--json")), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// bypassRecords checks that what a bypass let through stands after the record of
// its begin, marked and named.
func bypassRecords(records []audit.Record) error {
	var actions []string
	begun, through := false, 0
	for _, r := range records {
		switch {
		case r.Kind == audit.KindStop:
			begun = false
		case r.Kind == audit.KindBypass:
			actions = append(actions, r.Action)
			begun = begun || r.Action == "begin"
		case r.Kind == audit.KindDecision && r.Mode == "bypass":
			through++
			if !begun || !r.WouldDeny || r.Person == "" || !slices.Equal(r.Reasons, []string{"unmapped-route"}) {
				return fmt.Errorf("begun %t, decision %+v", begun, r)
			}
		}
	}
	slices.Sort(actions) // what commands leave is recorded when the gateway looks
	if want := []string{"approve", "begin", "begin", "end", "request"}; !slices.Equal(actions, want) {
		return fmt.Errorf("records of bypasses: %v", actions)
	}
	if through == 0 {
		return errors.New("nothing is recorded as bypassed")
	}
	return nil
}
