package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// guarded makes p2 a protected patient whom nobody may see, and p3 one of whom nobody
// knows.
func guarded(c *proxy.Config) {
	c.Sensitivity = func(app string, patients []proxy.Patient) policy.Sensitivity {
		if app != "epr" {
			return policy.Sensitivity{}
		}
		s := policy.Sensitivity{Known: true}
		for _, p := range patients {
			switch p.ID {
			case "p2":
				s.Classes = []string{"staff", "vip"}
			case "p3":
				s.Known = false
			}
		}
		return s
	}
	c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
		if !q.Sensitivity.Known || len(q.Sensitivity.Classes) > 0 {
			return challengeAll(q)
		}
		d := allowAll(q)
		if len(q.Patients) == 0 {
			d.Obligations = []string{"filter"}
		}
		return d
	})
}

// detailOf is what the record of a patient says of the protection.
func detailOf(w *world, patient string) (found []string) {
	for _, r := range slices.Concat(w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindPatient)) {
		if r.Patient != patient {
			continue
		}
		for _, d := range r.Detail {
			if strings.HasPrefix(d, audit.DetailSensitivity) {
				found = append(found, d)
			}
		}
	}
	return found
}

// The rules are told of the protection of whom a request names, and so is the record.
func TestProtectionOfWhomARequestNames(t *testing.T) {
	for patient, want := range map[string]struct {
		status int
		detail string
	}{
		"p1": {http.StatusOK, ""},
		"p2": {http.StatusForbidden, "sensitivity=staff,vip"},
		"p3": {http.StatusForbidden, "sensitivity=unknown"},
	} {
		w := build(t, say("notes"), guarded)
		if a := w.do("GET", "/patient/"+patient, ""); a.status != want.status {
			t.Errorf("%s: %d %s", patient, a.status, a.body)
		}
		if got := strings.Join(detailOf(w, patient), " "); got != want.detail {
			t.Errorf("%s: recorded %q, want %q", patient, got, want.detail)
		}
	}
}

// Where only the answer says who it is about, the question about them has their
// protection.
func TestProtectionOfWhomAnAnswerShows(t *testing.T) {
	for answer, status := range map[string]int{"patient p1\n": 200, "patient p1\npatient p2\n": 403, "patient p3\n": 403} {
		w := build(t, say(answer), func(c *proxy.Config) {
			guarded(c)
			c.Apps[0].Map = heldMap()
		})
		if a := w.do("GET", "/list", ""); a.status != status || status == 403 && strings.Contains(a.body, "patient p") {
			t.Errorf("%q: %d %s", answer, a.status, a.body)
		}
	}
	w := build(t, say("patient p1\npatient p2\n"), func(c *proxy.Config) {
		guarded(c)
		c.Apps[0].Map = heldMap()
	})
	w.do("GET", "/list", "")
	if got := append(detailOf(w, "p1"), detailOf(w, "p2")...); !slices.Equal(got, []string{"sensitivity=staff,vip"}) {
		t.Errorf("recorded %q", got)
	}
}

// A filtered list leaves out the protected patient alone.
func TestProtectionEntryByEntry(t *testing.T) {
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"p1", "p2", "p1"}
	w := build(t, fhirServer(all...), func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix = m, "/fhir", true
		guarded(c)
	})
	if a := w.do("GET", "/fhir/Observation?code=x", ""); a.status != 200 || a.body != shown([]string{"p1"}, all) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := detailOf(w, "p2"); !slices.Equal(got, []string{"sensitivity=staff,vip"}) {
		t.Errorf("recorded %q", got)
	}
}

// Without a source, that nobody is protected is known.
// hazard:GW-11 control:C-87
func TestNoSourceOfProtection(t *testing.T) {
	w := build(t, say("notes"), func(c *proxy.Config) {
		c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
			if !q.Sensitivity.Known || q.Sensitivity.Classes != nil {
				return denyAll(q)
			}
			return allowAll(q)
		})
	})
	if a := w.do("GET", "/patient/p2", ""); a.status != 200 || detailOf(w, "p2") != nil {
		t.Errorf("%d %v", a.status, detailOf(w, "p2"))
	}
}
