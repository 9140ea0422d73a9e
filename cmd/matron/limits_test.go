package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// opens opens patients from one to another and returns how many answers said that
// they were slowed down.
func (s *site) opens(c *http.Client, from, to int) (slowed int) {
	s.t.Helper()
	for i := from; i < to; i++ {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/fhir/Patient/"+s.hospital.Patients[i].ID, http.NoBody)
		if err != nil {
			s.t.Fatal(err)
		}
		res, err := c.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			s.t.Errorf("patient %d: %d", i, res.StatusCode)
		}
		if res.Header.Get("Matron-Slowed") != "" {
			slowed++
		}
	}
	return slowed
}

// TestGW03BudgetsAndMajorIncident is a shift as staff live through it: somebody meets
// more patients than their role does, which slows them down, is recorded and shown,
// and refuses their exports; a major incident lifts that, survives a restart while
// nothing but the gateway runs, and ends.
// hazard:GW-03 control:C-15
// hazard:GW-25 control:C-199
func TestGW03BudgetsAndMajorIncident(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	key := filepath.Join(s.dir, "ann.key")
	s.run("limits", "incident", "key", "--name", "ann", "--out", key)
	s.edit("applications:", "limits: {patients: {pause: 10ms, roles: {doctor: {hour: 3}}}, incident: {people: [{name: ann, key_file: ann.key.pub}]}}\napplications:")
	s.start()
	doctor, analyst := s.as("doctor"), s.as(hospital.SecurityAnalyst)
	if n := s.opens(doctor, 0, 3); n != 0 {
		t.Errorf("%d of three patients slowed", n)
	}
	if n := s.opens(doctor, 0, 5); n != 2 {
		t.Errorf("%d slowed, want the two beyond the budget", n)
	}
	search := func(want int) {
		t.Helper()
		if status, _ := s.send(doctor, http.MethodGet, "/fhir/Observation?code=8867-4", "", nil); status != want {
			t.Errorf("a search across patients: %d, want %d", status, want)
		}
	}
	search(http.StatusTooManyRequests)
	if status, body := s.send(analyst, http.MethodGet, "/.matron/live", "", nil); status != http.StatusOK || !strings.Contains(string(body), "5 patients in an hour") {
		t.Errorf("live page: %d %s", status, body)
	}
	if got := s.metric("matron_limits_over_budget_people"); got != "1" {
		t.Errorf("matron_limits_over_budget_people %s", got)
	}
	if got := s.run("limits", "incident", "status", "-c", s.config); !strings.Contains(got, "Limits are in force.") {
		t.Errorf("status: %s", got)
	}
	started := s.run("limits", "incident", "start", "-c", s.config, "--reason", "coach crash", "--for", "1h", "--name", "ann", "--key", key)
	id := regexp.MustCompile(`I[0-9a-f]{8}`).FindString(started)
	if id == "" || !strings.Contains(started, "lifts limits for people until") {
		t.Fatalf("start: %s", started)
	}
	lifted := func(want string) {
		t.Helper()
		s.eventually("limits are as they should be", func() error {
			if got := s.metric("matron_limits_lifted"); got != want {
				return fmt.Errorf("matron_limits_lifted %s", got)
			}
			return nil
		})
	}
	lifted("1")
	search(http.StatusOK)
	if n := s.opens(doctor, 5, 15); n != 0 {
		t.Errorf("%d slowed in a major incident", n)
	}
	s.stop()
	s.start()
	lifted("1")
	if status, body := s.send(s.as(hospital.SecurityAnalyst), http.MethodGet, "/.matron/health", "", nil); status != http.StatusOK ||
		!strings.Contains(string(body), "declared by ann") || !strings.Contains(string(body), "coach crash") {
		t.Errorf("health page: %d %s", status, body)
	}
	if c := s.readyCheck("limits (not required)"); c.OK || !strings.Contains(c.Note, "lifted for a major incident until ") {
		t.Errorf("/readyz: %+v", c)
	}
	s.run("limits", "incident", "end", id, "-c", s.config, "--reason", "stood down")
	lifted("0")
	s.stop()
	var actions, budgets []string
	for _, r := range s.records() {
		switch {
		case r.Kind == audit.KindIncident:
			actions = append(actions, r.Action)
		case r.Kind == audit.KindLimit && r.Effect == "allow" && slices.Contains(r.Reasons, audit.ReasonBudget):
			budgets = append(budgets, strings.Join(r.Detail, " "))
		}
	}
	if !slices.Equal(actions, []string{"begin", "begin", "end"}) {
		t.Errorf("records of the incident: %q", actions)
	}
	if len(budgets) != 1 || !strings.Contains(budgets[0], "budget=opened hour patients=4 of=3") {
		t.Errorf("records of the budget: %q", budgets)
	}
}

// TestMachinesAreRegistered: one that is not is refused and told why, until a reload
// registers it.
// hazard:GW-16 control:C-64
// hazard:GW-24 control:C-189
// hazard:GW-24 control:C-192
func TestMachinesAreRegistered(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.edit("bearer: {audiences: [matron]}", "bearer: {audiences: [matron-api], types: [JWT]}")
	s.edit("client: results-interface", "client: another")
	s.start()
	token, _ := s.apiToken()
	ask := func() (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/fhir/Patient/"+s.hospital.Patients[0].ID, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := s.stranger().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if status, text := ask(); status != http.StatusForbidden || !strings.Contains(text, "machine-not-registered") || !strings.Contains(text, "register it under machines") {
		t.Errorf("a machine that is not registered: %d %s", status, text)
	}
	for _, row := range []struct{ from, to, code string }{
		{"client: another", "client: results-interface", ""},
		{"expires: 2099-12-31", "expires: 2020-12-31", "machine-expired"},
		{"2020-12-31", "2099-12-31", ""},
		{"networks: [127.0.0.0/8]", "networks: [10.0.0.0/8]", "machine-network"},
	} {
		s.edit(row.from, row.to)
		s.reload()
		s.eventually(row.to, func() error {
			status, text := ask()
			if row.code == "" && status != http.StatusOK || row.code != "" && !strings.Contains(text, row.code) {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
	}
}
