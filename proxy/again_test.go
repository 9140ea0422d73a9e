package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// sealed refuses questions that name patient 4712, in the way of answer.
func sealed(answer func(policy.Request) policy.Decision) deciderFunc {
	return func(q policy.Request) policy.Decision {
		if slices.Contains(q.Patients, "4712") {
			return answer(q)
		}
		return allowAll(q)
	}
}

// TestPatientsOfAHeldResponseAreDecidedBeforeItIsReleased: the request names
// nobody and is allowed, the response names somebody whom the rules refuse.
func TestPatientsOfAHeldResponseAreDecidedBeforeItIsReleased(t *testing.T) {
	for _, row := range []struct {
		name, answer string
		decide       deciderFunc
		mode         proxy.Mode
		status       int
		effect, code string
	}{
		{"deny", secret, sealed(denyAll), proxy.Enforce, 403, "deny", "role-not-permitted"},
		{"challenge", secret, sealed(challengeAll), proxy.Enforce, 403, "challenge", "no-relationship"},
		{"observed", secret, sealed(denyAll), proxy.Observe, 200, "allow", "role-not-permitted"},
		{"another patient", "patient 4711\n", sealed(denyAll), proxy.Enforce, 200, "allow", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say(row.answer), func(c *proxy.Config) {
				c.Apps[0].Map, c.Apps[0].Mode, c.Decider = heldMap(), row.mode, row.decide
			})
			a := w.do("GET", "/search?name=x", "", navigate)
			if released := a.tells("4711"); a.status != row.status || released != (row.status == 200) {
				t.Errorf("got %d %q, want %d", a.status, a.body, row.status)
			}
			if a.status == 403 && (strings.Contains(a.body, "4712") || a.header.Get("Etag") != "") {
				t.Errorf("the refusal shows something of the answer: %v %s", a.header, a.body)
			}
			w.log.waitOutcome()
			records := w.log.kinds(audit.KindPatient)
			if len(records) != strings.Count(row.answer, "\n") {
				t.Fatalf("%d patient records", len(records))
			}
			for _, r := range records {
				if r.Effect != row.effect || strings.Join(r.Reasons, " ") != row.code || r.WouldDeny != (row.mode == proxy.Observe) {
					t.Errorf("patient %s: %s %v %t", r.Patient, r.Effect, r.Reasons, r.WouldDeny)
				}
			}
		})
	}
}

// TestALateRefusalLooksLikeAnyOther: nobody learns from a refusal whether it was
// the address or the answer that named the patient.
func TestALateRefusalLooksLikeAnyOther(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Etag", `W/"4712"`)
		rw.Header().Set("X-Total-Count", "2")
		_, _ = rw.Write([]byte(secret))
	}, func(c *proxy.Config) {
		m := heldMap()
		classify := m.classify
		m.classify = func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := classify(r, body)
			if r.URL.Path == "/named" {
				a.Patients, a.Certainty = []proxy.Patient{{ID: "4712"}}, audit.Authoritative
			}
			return a, err
		}
		c.Apps[0].Map, c.Decider = m, sealed(denyAll)
	})
	plain := func(a answer) string {
		for _, name := range []string{"Date", "Matron-Request", "Matron-Receipt"} {
			a.header.Del(name)
		}
		return fmt.Sprint(a.status, a.header)
	}
	early, late := w.do("GET", "/named", ""), w.do("GET", "/search", "")
	id := func(a answer) string { return a.header.Get("Matron-Request") }
	b1, b2 := strings.ReplaceAll(early.body, id(early), ""), strings.ReplaceAll(late.body, id(late), "")
	if b1 != b2 {
		t.Errorf("bodies differ:\n%s\n%s", b1, b2)
	}
	if e, l := plain(early), plain(late); e != l {
		t.Errorf("headers differ:\n%s\n%s", e, l)
	}
}

// TestManyPatientsAreOneQuestion: neither five hundred patients nor equal parts
// make the rules work more than once.
func TestManyPatientsAreOneQuestion(t *testing.T) {
	var list strings.Builder
	for i := range 500 {
		fmt.Fprintf(&list, "patient %d\n", 10000+i)
	}
	var asked []int
	w := build(t, say(list.String()), func(c *proxy.Config) {
		m := heldMap()
		classify := m.classify
		m.classify = func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := classify(r, body)
			a.Parts = slices.Repeat([]proxy.Part{{Action: policy.Read, Area: policy.Notes, Resource: "Condition"}}, 20)
			return a, err
		}
		c.Apps[0].Map = m
		c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
			asked = append(asked, len(q.Patients))
			return allowAll(q)
		})
	})
	if a := w.do("GET", "/search", ""); a.status != 200 {
		t.Fatalf("got %d", a.status)
	}
	w.log.waitOutcome()
	if !slices.Equal(asked, []int{0, 500}) {
		t.Errorf("questions about %v patients, want 0 and 500", asked)
	}
}

// TestALateRefusalThatIsNotRecordedReleasesNothing: promise 1 holds for what is
// withheld, too.
func TestALateRefusalThatIsNotRecordedReleasesNothing(t *testing.T) {
	for _, f := range []fault{lost, persistedButReportedFailed} {
		w := build(t, say(secret), func(c *proxy.Config) { c.Apps[0].Map, c.Decider = heldMap(), sealed(denyAll) })
		w.log.appendFault = func(n int, _ []*audit.Record) fault {
			if n == 2 {
				return f
			}
			return noFault
		}
		if a := w.do("GET", "/search", ""); a.status != 503 || a.tells("4711") {
			t.Errorf("fault %d: got %d %q, want 503", f, a.status, a.body)
		}
	}
}
