package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// TestGW19BypassBesideARunningGateway is an emergency as staff live through it:
// two people begin a bypass by command, care goes on, all of it is recorded and
// shown, a restart changes nothing, and the end is the end.
func TestGW19BypassBesideARunningGateway(t *testing.T) {
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
	s.stop()
	if err := bypassRecords(s.records()); err != nil {
		t.Error(err)
	}
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
