package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/hazardlog/report"
)

// officer is a clinical safety officer in front of the pages.
type officer struct {
	*site
	client *http.Client
	person string
}

func (o officer) page(path string) string {
	o.t.Helper()
	_, body := o.send(o.client, http.MethodGet, path, "", nil)
	return string(body)
}

// again follows the link on a page that begins with these words to the sign-in
// service, signs in there once more, and returns where that led.
func (o officer) again(page, words string) (path string) {
	o.t.Helper()
	m := regexp.MustCompile(`href="([^"]+)"[^>]*>` + words).FindStringSubmatch(o.page(page))
	if m == nil {
		o.t.Fatalf("%s has no link %q", page, words)
	}
	link := html.UnescapeString(m[1])
	u, err := url.Parse(link)
	if err != nil {
		o.t.Fatal(err)
	}
	path = u.Query().Get("return")
	if early := o.page(path); !strings.Contains(early, "You have not proved again who you are") {
		o.t.Errorf("%s opens without signing in again: %s", path, early)
	}
	attempt := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(o.page(link))
	if attempt == nil {
		o.t.Fatal("the sign-in service did not ask again who it is")
	}
	form := url.Values{"id": {attempt[1]}, "person": {o.person}}.Encode()
	o.send(o.client, http.MethodPost, o.issuer()+"/sign-in", "application/x-www-form-urlencoded", []byte(form))
	return path
}

func (o officer) sign(path string, form url.Values) {
	o.t.Helper()
	if status, body := o.send(o.client, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(form.Encode())); status != http.StatusOK { // where it leads
		o.t.Fatalf("%s: status %d: %s", path, status, body)
	}
}

// TestAnOfficerSignsInTheBrowser assesses and approves a log on the pages of a running
// gateway, each time by signing in again with a real sign-in service: who signed, over
// which bytes and how they proved it is in the log and in the journal.
func TestAnOfficerSignsInTheBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t, "- {name: fhir, prefix: /fhir, upstream: 'http://localhost:1', map: fhir-r4}\n")
	person := s.hospital.WithRole(hospital.SafetyOfficer)[0].Person
	s.edit("applications:", fmt.Sprintf("hazard_log: {officers: [{name: Dr Ann Example, body: GMC, number: '0000001', expires: 2099-03-31, person: %q}]}\napplications:", person))
	s.write("small.json", smallLog(t))
	s.run("hazard", "import", filepath.Join(s.dir, "small.json"), "-c", s.config)
	s.start()
	o := officer{s, s.enter(person), person}

	if status, body := o.send(o.client, http.MethodGet, "/.matron/safety/pack", "", nil); status != http.StatusConflict || !strings.Contains(string(body), "approved") {
		t.Errorf("an issue pack of a draft: status %d: %s", status, body)
	}
	assess := o.again("/.matron/safety/release", "Sign in again and assess proposed ratings")
	o.sign(assess, url.Values{"hazards": {"SM-01"}, "why": {"workshop"}})
	approve := o.again("/.matron/safety/release", "Sign in again and sign this version")
	hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(o.page(approve))
	o.sign(approve, url.Values{"version": {"1.0"}, "statement": {"The residual risk is acceptable."}, "confirm": {"0", "1"}})
	for _, path := range []string{"/.matron/", "/.matron/safety", "/.matron/hazards/SM-01"} {
		if page := o.page(path); !strings.Contains(page, "Version 1.0, approved by Dr Ann Example (GMC 0000001)") {
			t.Errorf("%s does not say what is approved", path)
		}
	}
	if page := o.page("/.matron/safety"); !strings.Contains(page, "The same as when version 1.0 was signed.") {
		t.Error("the running gateway is not said to be the one approved")
	}
	status, body := o.send(o.client, http.MethodGet, "/.matron/safety/pack", "", nil)
	_, packed, err := report.Verify(body, "")
	if status != http.StatusOK || err != nil {
		t.Errorf("the issue pack: status %d, %v: %.200s", status, err, body)
	}
	s.eventually("every change is recorded", func() error {
		if out := s.run("hazard", "verify", "-c", s.config); !strings.Contains(out, "; 0 wait") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	s.stop()
	records := s.records()
	if !slices.ContainsFunc(records, func(r audit.Record) bool {
		return r.Resource == "issue-pack" && r.Person == person && slices.Contains(r.Detail, "manifest_sha256="+packed) && slices.Contains(r.Detail, "version=1.0")
	}) {
		t.Error("nobody recorded who was given the issue pack")
	}
	approved := slices.DeleteFunc(records, func(r audit.Record) bool { return r.Kind != audit.KindHazard || r.Resource != "version" })
	if len(approved) != 1 {
		t.Fatalf("%d approvals are recorded", len(approved))
	}
	for _, want := range []string{"officer=Dr Ann Example (GMC 0000001)", "proof=sign-in", "version=1.0", "snapshot_sha256=" + hash} {
		if !slices.Contains(approved[0].Detail, want) {
			t.Errorf("the record lacks %q: %v", want, approved[0].Detail)
		}
	}
}
