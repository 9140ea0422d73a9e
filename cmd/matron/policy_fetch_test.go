package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/policy/rego/regotest"
)

// ruleServer offers one bundle of rules over TLS.
type ruleServer struct {
	mu   sync.Mutex
	text []byte // guarded by mu; nil answers with an error
}

func (r *ruleServer) offer(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
}

func (r *ruleServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text == nil {
		w.WriteHeader(http.StatusBadGateway)
	}
	_, _ = w.Write(r.text)
}

// fetching is a gateway whose rules come from a server.
func fetching(t *testing.T, more string) (s *site, offered *ruleServer, key regotest.Key) {
	t.Helper()
	s, offered, key = newRecordSite(t), &ruleServer{}, regotest.NewKey(t)
	server := httptest.NewTLSServer(offered)
	t.Cleanup(server.Close)
	s.write("rules.pub", key.Public)
	s.write("rules-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	s.edit("applications:", fmt.Sprintf("policy: {bundle: {url: %q, key_file: rules.pub, ca_file: rules-ca.pem, poll: 200ms}%s}\napplications:",
		server.URL+"/bundle.tar.gz", more))
	return s, offered, key
}

// bundles are the revisions that the gateway keeps.
func (s *site) bundles() (list []string) {
	s.t.Helper()
	kept, err := os.ReadDir(s.path("data/policy/bundles"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range kept {
		if !strings.HasPrefix(d.Name(), ".") {
			list = append(list, d.Name())
		}
	}
	return list
}

// oldBundles makes some that came before any other, the oldest first.
func (s *site) oldBundles(n int) (list []string) {
	s.t.Helper()
	for i := range n {
		name := fmt.Sprintf("%032x", i)
		dir, came := s.path("data/policy/bundles/"+name), time.Now().Add(time.Duration(i-100)*time.Hour)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chtimes(dir, came, came)); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, name)
	}
	return list
}

// TestRulesComeFromAServer: only what is signed and newer comes in force, what is
// refused is recorded once, and a start does not need the server.
// hazard:GW-11 control:C-89
func TestRulesComeFromAServer(t *testing.T) {
	t.Parallel()
	s, server, key := fetching(t, "")
	files := regotest.Files(t, rego.Default())
	s.declines("no rules", "serve", "-c", s.config)
	server.offer(regotest.Sign(t, files, "1", "", key))
	s.start()
	doctor := s.as("doctor")
	reads := func(want int) func() error {
		return func() error {
			status, _ := s.send(doctor, http.MethodGet, "/fhir/Observation?patient="+s.hospital.Patients[0].ID, "", nil)
			if status != want {
				return fmt.Errorf("a doctor reads results: %d, want %d", status, want)
			}
			return nil
		}
	}
	s.eventually("the first rules", reads(http.StatusOK))
	old, first := s.oldBundles(9), s.bundles()
	files["roles.yaml"] = strings.Replace(files["roles.yaml"], searches, noSearches, 1)
	server.offer(regotest.Sign(t, files, "2", "", key))
	s.eventually("newer rules", reads(http.StatusForbidden))
	s.eventually("old bundles go", func() error {
		if left := s.bundles(); len(left) != 7 || !slices.Contains(left, old[8]) || slices.Contains(left, old[3]) {
			return fmt.Errorf("%q are left", left)
		}
		return nil
	})
	if i := slices.IndexFunc(first, func(r string) bool { return !slices.Contains(old, r) }); !slices.Contains(s.bundles(), first[i]) {
		t.Errorf("the rules that were in force before, %s, are gone: %q", first[i], s.bundles())
	}

	for _, bad := range []struct{ what, want string }{
		{"unsigned", "signature of the bundle does not hold"},
		{"older", "older than the last one"},
		{"faulty", `bundle/access_test\.rego:\d+`},
	} {
		switch bad.what {
		case "unsigned":
			server.offer(regotest.Sign(t, files, "3", "", regotest.NewKey(t)))
		case "older":
			server.offer(regotest.Sign(t, regotest.Files(t, rego.Default()), "1", "", key))
		case "faulty":
			faulty := regotest.Files(t, rego.Default())
			faulty["roles.yaml"] = strings.Replace(faulty["roles.yaml"], "rules: [read, create, update]", "rules: [read]", 1)
			server.offer(regotest.Sign(t, faulty, "4", "", key))
		}
		s.eventually(bad.what+" is refused", func() error {
			if !regexp.MustCompile(bad.want).MatchString(strings.Join(s.log.with("no rules are taken"), "\n")) {
				return errors.New("nothing is said")
			}
			return nil
		})
	}
	if n := s.metric("matron_policy_refused_total"); n != "3" {
		t.Errorf("%s bundles were refused, want 3", n)
	}
	if err := reads(http.StatusForbidden)(); err != nil {
		t.Error(err)
	}
	server.offer(nil)
	s.stop()
	s.start()
	if err := reads(http.StatusForbidden)(); err != nil {
		t.Errorf("after a restart without the server: %v", err)
	}
	s.stop()
	var steps []string
	for _, r := range s.records() {
		if r.Kind == audit.KindPolicyChange {
			steps = append(steps, r.Action)
		}
	}
	if got := strings.Join(steps, " "); got != "fetch refused refused refused" {
		t.Errorf("records: %s", got)
	}
}

// TestFetchedRulesAreCandidates: where promotion is demanded, a fetched bundle waits
// for two people, and is promoted by its revision.
func TestFetchedRulesAreCandidates(t *testing.T) {
	t.Parallel()
	s, server, key := fetching(t, ", promotion: required")
	files := regotest.Files(t, rego.Default())
	files["roles.yaml"] += "# Reviewed.\n"
	server.offer(regotest.Sign(t, files, "2026-11-26T12:00:00Z", "", key))
	s.start()
	var revision string
	s.eventually("the bundle is a candidate", func() error {
		for _, line := range s.log.with("the candidate policy is tried") {
			revision = regexp.MustCompile(`candidate=([0-9a-f]{32})`).FindStringSubmatch(line)[1]
			return nil
		}
		return errors.New("nothing is said")
	})
	s.as("doctor") // so that something was decided
	verdict := s.path("verdict.json")
	s.eventually("there is something to replay", func() error {
		if r := s.replayed(revision); r.Decisions < 1 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	s.run("policy", "replay", "-c", s.config, "--against", revision, "--out", verdict)
	out := s.run("policy", "promote", revision, "-c", s.config, "--verdict", verdict, "--reason", "from the regional rules")
	id, _, _ := strings.Cut(out, ":")
	officers := s.hospital.WithRole("privacy-officer")
	s.want(s.enter(officers[0].Person), "propose", id, http.StatusSeeOther, "")
	s.want(s.enter(officers[1].Person), "approve", id, http.StatusSeeOther, "")
	if _, note := s.ready(); !strings.Contains(note, "policy "+revision) {
		t.Errorf("in force: %s", note)
	}
	if _, err := os.Stat(s.path("data/policy/fetched.tar.gz")); err != nil {
		t.Error(err)
	}
	s.stop()
}
