package main

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/policy/rego"
)

const (
	searches   = "results: [read, search, list, create, update, print]"
	noSearches = "results: [read, list, create, update, print]"
)

// rulesSite is a gateway that demands promotion, with its rules in rules and a
// candidate under which doctors no longer search results in candidate.
func rulesSite(t *testing.T) *site {
	t.Helper()
	s := newRecordSite(t)
	s.edit("applications:", "policy: {dir: rules, promotion: required}\napplications:")
	for _, name := range []string{"rules", "candidate", "same"} {
		if err := os.CopyFS(filepath.Join(s.dir, name), rego.Default()); err != nil {
			t.Fatal(err)
		}
	}
	s.write("candidate/roles.yaml", strings.Replace(s.read("candidate/roles.yaml"), searches, noSearches, 1))
	s.write("same/roles.yaml", s.read("same/roles.yaml")+"# Reviewed.\n")
	s.start()
	return s
}

// path is a file beside the configuration.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// declines runs a command that must fail and say why.
func (s *site) declines(why string, args ...string) {
	s.t.Helper()
	c := command(s.t, args...)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err == nil || !strings.Contains(said.String(), why) {
		s.t.Errorf("matron %s: %v, %q is not in %s", strings.Join(args, " "), err, why, said.String())
	}
}

// verdict replays a candidate into a file, once decisions are on record.
func (s *site) verdict(candidate, file string) {
	s.t.Helper()
	s.eventually("the decisions are in ClickHouse", func() error {
		if r := s.replayed(s.path(candidate)); r.Decisions < 1 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	s.run("policy", "replay", "-c", s.config, "--against", s.path(candidate), "--out", s.path(file))
}

// stage brings a candidate before the people and returns its number.
func (s *site) stage(candidate, verdict string) string {
	s.t.Helper()
	out := s.run("policy", "promote", s.path(candidate), "-c", s.config, "--verdict", s.path(verdict), "--reason", "as agreed")
	id, _, found := strings.Cut(out, ":")
	if !found || !strings.HasPrefix(id, "P") {
		s.t.Fatalf("staged: %s", out)
	}
	return id
}

// step posts one form of the page Rules and returns the status and what is wrong.
func (s *site) step(c *http.Client, step, proposal string) (int, string) {
	s.t.Helper()
	form := url.Values{"proposal": {proposal}, "reason": {"looked at by the board"}}
	status, body := s.send(staying(c), http.MethodPost, "/.matron/rules/"+step, "application/x-www-form-urlencoded", []byte(form.Encode()))
	said := regexp.MustCompile(`(?s)error-summary__list.*?<a[^>]*>(.*?)</a>`).FindSubmatch(body)
	if said == nil {
		return status, ""
	}
	return status, html.UnescapeString(string(said[1]))
}

// staying is c without following where it is sent.
func staying(c *http.Client) *http.Client {
	stays := *c
	stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &stays
}

// want checks what a step was answered with.
func (s *site) want(c *http.Client, step, proposal string, status int, why string) {
	s.t.Helper()
	if got, said := s.step(c, step, proposal); got != status || !strings.Contains(said, why) {
		s.t.Errorf("%s: %d %q, want %d %q", step, got, said, status, why)
	}
}

// TestRulesArePromotedByTwoPeople: one person alone cannot, nor the same person
// twice, nor two without the mark of a clinical safety officer where care would be
// refused, nor anybody with a candidate or a verdict that was altered.
// hazard:GW-11 control:C-88
func TestRulesArePromotedByTwoPeople(t *testing.T) {
	t.Parallel()
	s := rulesSite(t)
	doctor, admin, safety := s.as("doctor"), s.as("system-administrator"), s.as("clinical-safety-officer")
	officers := s.hospital.WithRole("privacy-officer")
	ann, bob := s.enter(officers[0].Person), s.enter(officers[1].Person)
	finds := func(want int) {
		t.Helper()
		if status, body := s.send(doctor, http.MethodGet, "/fhir/Observation?patient="+s.hospital.Patients[0].ID, "", nil); status != want {
			t.Errorf("a doctor searches: %d, want %d: %s", status, want, body)
		}
	}
	finds(http.StatusOK)

	// An edit of policy.dir takes no effect, and that is said.
	s.write("rules/roles.yaml", s.read("candidate/roles.yaml"))
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		t.Errorf("reload: %s", line)
	}
	finds(http.StatusOK)
	if _, page := s.send(ann, http.MethodGet, "/.matron/rules", "", nil); !strings.Contains(string(page), "are not in force: two people must promote them first") {
		t.Error("no banner says that the configured rules wait")
	}

	s.verdict("candidate", "verdict.json")
	promote := func(args ...string) []string {
		return append([]string{"policy", "promote", "-c", s.config, "--reason", "as agreed"}, args...)
	}
	s.declines("give a CANDIDATE with --verdict", promote(s.path("candidate"))...)
	s.declines("the verdict is about the rules", promote(s.path("same"), "--verdict", s.path("verdict.json"))...)
	s.write("forged.json", regexp.MustCompile(`"newly_denied_care": \d+`).ReplaceAllString(s.read("verdict.json"), `"newly_denied_care": 0`))
	s.declines("the verdict was changed", promote(s.path("candidate"), "--verdict", s.path("forged.json"))...)
	s.declines("no rules were promoted that could be taken back", promote("--rollback")...)
	id := s.stage("candidate", "verdict.json")

	s.want(doctor, "propose", id, http.StatusForbidden, "")
	s.want(bob, "approve", id, http.StatusUnprocessableEntity, "Nobody has proposed")
	s.want(ann, "propose", id, http.StatusSeeOther, "")
	s.want(ann, "approve", id, http.StatusUnprocessableEntity, "must be approved by somebody else")
	s.want(admin, "approve", id, http.StatusForbidden, "")
	s.want(bob, "approve", id, http.StatusUnprocessableEntity, "a clinical safety officer must mark it first")
	s.want(bob, "mark", id, http.StatusForbidden, "")
	s.want(safety, "mark", id, http.StatusSeeOther, "")

	revision := regexp.MustCompile(`"candidate": "([0-9a-f]+)"`).FindStringSubmatch(s.read("verdict.json"))[1]
	kept := filepath.Join("data/policy/bundles", revision, "roles.yaml")
	whole := s.read(kept)
	s.write(kept, whole+"# altered\n")
	s.want(bob, "approve", id, http.StatusUnprocessableEntity, "were altered")
	s.write(kept, whole)
	finds(http.StatusOK)
	s.want(bob, "approve", id, http.StatusSeeOther, "")
	finds(http.StatusForbidden)
	s.want(bob, "approve", id, http.StatusUnprocessableEntity, "was approved by")
	s.reload()
	finds(http.StatusForbidden)
	s.explained(ann) // what the rules before have decided: they are kept, and are asked
	s.stop()
	s.start()
	finds(http.StatusForbidden)

	s.run(promote("--rollback")...)
	s.eventually("the rules before are in force again", func() error {
		if status, _ := s.send(doctor, http.MethodGet, "/fhir/Observation?patient="+s.hospital.Patients[0].ID, "", nil); status != http.StatusOK {
			return fmt.Errorf("%d", status)
		}
		return nil
	})
	s.stop()
	s.promotionRecords(officers[0].Person, officers[1].Person)
}

// TestAHarmlessPromotionNeedsNoMark: where nothing would be newly refused, two people
// are enough, and one of them may roll back on the page.
// hazard:GW-11 control:C-88
func TestAHarmlessPromotionNeedsNoMark(t *testing.T) {
	t.Parallel()
	s := rulesSite(t)
	officers := s.hospital.WithRole("privacy-officer")
	ann, admin := s.enter(officers[0].Person), s.as("system-administrator")
	if status, _ := s.send(s.as("doctor"), http.MethodGet, "/fhir/Patient/"+s.hospital.Patients[0].ID, "", nil); status != http.StatusOK {
		t.Fatal(status)
	}
	s.verdict("same", "verdict.json")
	id := s.stage("same", "verdict.json")
	s.want(admin, "propose", id, http.StatusSeeOther, "")
	s.want(ann, "approve", id, http.StatusSeeOther, "")
	s.declines("the verdict compares with the rules", "policy", "promote", s.path("candidate"), "-c", s.config,
		"--reason", "again", "--verdict", s.old("candidate"))
	s.want(admin, "roll-back", "", http.StatusForbidden, "")
	s.want(ann, "roll-back", "", http.StatusSeeOther, "")
	s.want(ann, "roll-back", "", http.StatusUnprocessableEntity, "could be taken back")
	list := s.run("policy", "promote", "-c", s.config, "--list")
	for _, how := range []string{"adopt", "promote", "rollback"} {
		if strings.Count(list, " "+how+" by ") != 1 {
			t.Errorf("%s: %s", how, list)
		}
	}
	s.stop()
	s.tear(gateway.PromotionsFile(s.settings())) // the power goes while the last entry is written
	s.start()
	if status, _ := s.send(s.as("doctor"), http.MethodGet, "/fhir/Patient/"+s.hospital.Patients[0].ID, "", nil); status != http.StatusOK {
		t.Errorf("after a power cut: %d", status)
	}
	s.declines("unreadable entry at the end", "policy", "promote", "-c", s.config, "--list")
	s.stop()
}

// tear cuts the last bytes off a file.
func (s *site) tear(path string) {
	s.t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-3)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// old is a verdict that compares with rules that are not in force any more.
func (s *site) old(candidate string) string {
	s.t.Helper()
	s.write("elsewhere.yaml", strings.Replace(s.read("matron.yaml"), "promotion: required", "promotion: off", 1))
	s.run("policy", "replay", "-c", s.path("elsewhere.yaml"), "--against", s.path(candidate), "--out", s.path("old.json"))
	return s.path("old.json")
}

// explained opens the page of a decision that other rules than those in force have
// made, and compares it with the command.
func (s *site) explained(viewer *http.Client) {
	s.t.Helper()
	doctor := s.hospital.WithRole("doctor")[0].Person
	form := url.Values{"by": {"staff"}, "number": {doctor}, "reason": {"planned-audit"}}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/.matron/lookup", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := staying(viewer).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	var links [][][]byte
	s.eventually("decisions are listed", func() error {
		_, list := s.send(viewer, http.MethodGet, res.Header.Get("Location"), "", nil)
		if links = regexp.MustCompile(`href="(/\.matron/decisions/[^"]+)"`).FindAllSubmatch(list, -1); len(links) == 0 {
			return errors.New("no decision is linked")
		}
		return nil
	})
	status, page := s.send(viewer, http.MethodGet, html.UnescapeString(string(links[len(links)-1][1])), "", nil) // the oldest
	record := regexp.MustCompile(`Record (gw1/\d+)`).FindSubmatch(page)
	if status != http.StatusOK || record == nil {
		s.t.Fatalf("%d %s", status, page)
	}
	for _, want := range []string{"those that decided then", "@access.rego:", "Every rule that was considered", "basis role-table", "subject.roles"} {
		if !bytes.Contains(page, []byte(want)) {
			s.t.Errorf("%q is not on the page", want)
		}
	}
	c := exec.CommandContext(s.t.Context(), binary(s.t), "policy", "explain", string(record[1]), "-c", s.config)
	text, err := c.CombinedOutput()
	if err != nil || strings.Contains(string(text), "not kept") {
		s.t.Errorf("%v: %s", err, text)
	}
	for _, rule := range regexp.MustCompile(`[a-z]+\.rego:\d+`).FindAllString(string(text), -1) {
		if !bytes.Contains(page, []byte(rule)) {
			s.t.Errorf("%s is not on the page", rule)
		}
	}
}

// promotionRecords checks who did what, in the record.
func (s *site) promotionRecords(proposer, approver string) {
	s.t.Helper()
	var steps, viewed []string
	for _, r := range s.records() {
		switch {
		case r.Kind == audit.KindPolicyChange:
			step := r.Action
			if r.Person != "" {
				step += " " + r.Person
			}
			steps = append(steps, step)
			if r.Action == "approve" && (!slices.Contains(r.Detail, "reason=looked at by the board") ||
				!slices.ContainsFunc(r.Detail, func(d string) bool { return strings.HasPrefix(d, "marked_by=") })) {
				s.t.Errorf("approved: %+v", r)
			}
		case r.Kind == audit.KindAuditViewed && r.Screen == "decision":
			viewed = append(viewed, r.Detail...)
		}
	}
	safety := s.hospital.WithRole("clinical-safety-officer")[0].Person
	// What commands leave is recorded when the gateway looks.
	left := func(step string) bool { return step == "stage" || step == "rollback" }
	if i := slices.IndexFunc(steps, left); i < 0 {
		s.t.Errorf("what commands did is not on record: %v", steps)
	}
	steps = slices.DeleteFunc(steps, left)
	want := []string{"adopt", "propose " + proposer, "mark " + safety, "approve " + approver, "in-force"}
	if diff := cmp.Diff(want, steps); diff != "" {
		s.t.Errorf("records (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(viewed, func(d string) bool { return strings.HasPrefix(d, "record=gw1/") }) {
		s.t.Errorf("that a decision was viewed is not on record: %v", viewed)
	}
}
