package proxy_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// shown is what a search without a patient yields when the rest is hidden: it has the
// form of an answer that never held the rest.
func shown(patients []string, all []string) string {
	var entries []string
	for i, p := range all {
		if slices.Contains(patients, p) {
			entries = append(entries, fmt.Sprintf(`{"fullUrl":"http://epr/Observation/o%d","search":{"mode":"match"},"resource":%s}`, i, observation(fmt.Sprint("o", i), p)))
		}
	}
	body := `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"?page=2"}]`
	if len(entries) > 0 {
		body += `,"entry":[` + strings.Join(entries, ",") + `]`
	}
	return body + `}`
}

// hazard:GW-15 control:C-84
func TestSearchWithoutPatientIsFilteredEntryByEntry(t *testing.T) {
	all := []string{"p1", "p2", "p3", "p2"}
	for _, row := range []struct {
		name            string
		mode            proxy.Mode
		refused, appear []string
	}{
		{"none is refused", proxy.Enforce, nil, all},
		{"one is refused", proxy.Enforce, []string{"p2"}, []string{"p1", "p3"}},
		{"all are refused", proxy.Enforce, []string{"p1", "p2", "p3"}, nil},
		{"observed", proxy.Observe, []string{"p2"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := fhirWorld(t, row.mode, fhirServer(all...), row.refused...)
			a := w.do("GET", "/fhir/Observation?code=x", "")
			want := shown(row.appear, all)
			if row.mode == proxy.Observe {
				want = searchAnswer(all)
			}
			if a.status != 200 || a.body != want {
				t.Errorf("got %d %s\nwant %s", a.status, a.body, want)
			}
			if row.mode == proxy.Enforce && a.header.Get("Etag") != "" {
				t.Error("the entity tag of the whole answer is shown")
			}
			out := w.log.waitOutcome()
			if n := strings.Count(want, "fullUrl"); int(out.Results) != n {
				t.Errorf("%d results recorded, %d shown", out.Results, n)
			}
			effects := map[string]string{}
			for _, r := range w.log.kinds(audit.KindPatient) {
				effects[r.Patient] += fmt.Sprintf("%s%v%t", r.Effect, r.Reasons, r.WouldDeny)
			}
			for _, p := range all {
				wanted := "allow[]false"
				switch {
				case slices.Contains(row.refused, p) && row.mode == proxy.Observe:
					wanted = "allow[no-relationship]true"
				case slices.Contains(row.refused, p):
					wanted = "challenge[no-relationship]false"
				}
				if effects[p] != wanted {
					t.Errorf("patient %s: recorded %q, want %q", p, effects[p], wanted)
				}
			}
		})
	}
}

// said is a gateway before a server that always answers this.
func said(t *testing.T, body string, refused ...string) *world {
	t.Helper()
	return fhirWorld(t, proxy.Enforce, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/fhir+json")
		rw.Header().Set("X-Total-Count", "31")
		_, _ = io.WriteString(rw, body)
	}, refused...)
}

func TestWhatTellsOfHiddenEntriesIsLeftOutToo(t *testing.T) {
	entry := func(mode, resource string) string {
		return fmt.Sprintf(`{"search":{"mode":%q},"resource":%s}`, mode, resource)
	}
	practitioner := `{"resourceType":"Practitioner","id":"d1","name":[{"text":"marker-of-p2"}]}`
	by := strings.Replace(observation("o2", "p2"), `"note"`, `"performer":[{"reference":"http://epr/Practitioner/d1/_history/2"}],"note"`, 1)
	byOther := strings.Replace(strings.Replace(by, "o2", "o1", 1), "p2", "p1", 2)
	for _, row := range []struct{ name, path, said, want string }{
		{"a count", "/Observation?code=x&_summary=count", `{"resourceType":"Bundle","type":"searchset","total":31}`, `{"resourceType":"Bundle","type":"searchset"}`},
		{
			"an included resource of nobody, for a hidden one", "/Observation?code=x&_include=Observation:performer:Practitioner",
			`{"resourceType":"Bundle","type":"searchset","entry":[` + entry("match", by) + `,` + entry("include", practitioner) + `],"extension":[{"url":"n","valueInteger":1}]}`,
			`{"resourceType":"Bundle","type":"searchset"}`,
		},
		{
			"one for a shown one as well", "/Observation?code=x&_include=Observation:performer:Practitioner",
			`{"resourceType":"Bundle","type":"searchset","entry":[` + entry("match", by) + `,` + entry("match", byOther) + `,` + entry("include", practitioner) + `]}`,
			`{"resourceType":"Bundle","type":"searchset","entry":[` + entry("match", byOther) + `,` + entry("include", practitioner) + `]}`,
		},
		{
			"an included resource of a refused patient", "/Practitioner?_revinclude=Observation:performer",
			`{"resourceType":"Bundle","type":"searchset","total":1,"entry":[` + entry("match", practitioner) + `,` + entry("include", by) + `]}`,
			`{"resourceType":"Bundle","type":"searchset","entry":[` + entry("match", practitioner) + `]}`,
		},
		{
			"what was deleted", "/Observation/_history",
			`{"resourceType":"Bundle","type":"history","total":3,"entry":[{"request":{"method":"DELETE","url":"Observation/o1"}},{"resource":` + observation("o1", "p1") +
				`},{"request":{"method":"DELETE","url":"Observation/o2"}},{"resource":` + observation("o2", "p2") + `},{"request":{"method":"DELETE","url":"Observation/o3"}}]}`,
			`{"resourceType":"Bundle","type":"history","entry":[{"request":{"method":"DELETE","url":"Observation/o1"}},{"resource":` + observation("o1", "p1") + `}]}`,
		},
		{
			"an entry that names nobody", "/Observation?code=x",
			`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Observation","id":"o9"}},{"resource":` + observation("o1", "p1") + `}]}`,
			`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":` + observation("o1", "p1") + `}]}`,
		},
		{
			"a list of none", "/Observation?code=x",
			`{"resourceType":"Bundle","type":"searchset","total":0,"entry":[ ]}`, `{"resourceType":"Bundle","type":"searchset"}`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := said(t, row.said, "p2")
			if a := w.do("GET", "/fhir"+row.path, ""); a.status != 200 || a.body != row.want || a.header.Get("X-Total-Count") != "" {
				t.Errorf("got %d %v %s\nwant %s", a.status, a.header, a.body, row.want)
			}
			w.log.waitOutcome()
			for _, r := range w.log.kinds(audit.KindPatient) {
				if r.Patient == "p2" && r.Effect != "challenge" {
					t.Errorf("a hidden patient is recorded as shown: %+v", r)
				}
			}
		})
	}
}

// TestSearchThatNamesItsPatientKeepsItsTotal: whoever names a patient has been
// decided about, and a refusal says so.
func TestSearchThatNamesItsPatientKeepsItsTotal(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer("p1"), "p2")
	if a := w.do("GET", "/fhir/Observation?patient=p1", ""); a.body != searchAnswer([]string{"p1"}) {
		t.Errorf("got %s", a.body)
	}
	w = fhirWorld(t, proxy.Enforce, fhirServer("p1", "p2"), "p2")
	if a := w.do("GET", "/fhir/Observation?patient=p1", ""); a.status != 403 || strings.Contains(a.body, "marker") {
		t.Errorf("an answer about somebody else: got %d %s", a.status, a.body)
	}
}

// TestPolicyMayRefuseRatherThanFilter: without the obligation nothing is left out.
// hazard:GW-15 control:C-84
func TestPolicyMayRefuseRatherThanFilter(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer("p1", "p2"))
	w.cfg.Decider = sealed(denyAll)
	cfg := w.cfg
	w = build(t, fhirServer("p1", "4712"), func(c *proxy.Config) {
		cfg.Apps[0].Upstream = c.Apps[0].Upstream
		c.Apps, c.Decider = cfg.Apps, cfg.Decider
	})
	if a := w.do("GET", "/fhir/Observation?code=x", ""); a.status != 403 || strings.Contains(a.body, "marker") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// TestSearchesInABatchAreFilteredToo: an entry that searches is filtered as if it had
// come alone.
func TestSearchesInABatchAreFilteredToo(t *testing.T) {
	all := []string{"p1", "p2"}
	w := fhirWorld(t, proxy.Enforce, fhirServer(all...), "p2")
	a := w.do("POST", "/fhir", batchOf(get("Observation?code=x"), get("Patient/p1")), fhirBody)
	if b := bundleIn(t, a.body); len(b.Entry) != 2 || string(b.Entry[0].Resource) != shown([]string{"p1"}, all) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// TestAnswerOfAnotherAreaIsDecided: what an _include fetches is asked about once the
// answer shows it, and withheld only when that is refused.
func TestAnswerOfAnotherAreaIsDecided(t *testing.T) {
	answer := `{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{"resource":` + observation("o1", "p1") +
		`},{"search":{"mode":"include"},"resource":{"resourceType":"MedicationRequest","id":"m1","subject":{"reference":"Patient/p1"}}}]}`
	for area, status := range map[policy.Area]int{"": 200, policy.Prescribing: 403} {
		var asked []policy.Area
		w := said(t, answer)
		cfg := w.cfg
		w = build(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/fhir+json")
			_, _ = io.WriteString(rw, answer)
		}, func(c *proxy.Config) {
			cfg.Apps[0].Upstream = c.Apps[0].Upstream
			c.Apps = cfg.Apps
			c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
				asked = append(asked, q.Area)
				if q.Area == area {
					return denyAll(q)
				}
				return allowAll(q)
			})
		})
		a := w.do("GET", "/fhir/Observation?patient=p1&_include=Observation:based-on", "")
		if a.status != status || a.status == 200 && a.body != answer || !slices.Contains(asked, policy.Prescribing) {
			t.Errorf("%q refused: got %d %s, asked about %v", area, a.status, a.body, asked)
		}
	}
}

// TestNothingOfARefusedPatientIsShown: whatever Bundle and whomever the rules refuse,
// no byte of theirs is shown, and the answer is that of a server without them.
func TestNothingOfARefusedPatientIsShown(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 26))
	var body string
	var refused []string
	w := fhirWorld(t, proxy.Enforce, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(rw, body)
	})
	cfg := w.cfg
	w = build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(rw, body)
	}, func(c *proxy.Config) {
		cfg.Apps[0].Upstream = c.Apps[0].Upstream
		c.Apps = cfg.Apps
		c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
			d := allowAll(q)
			d.Obligations = []string{"filter"}
			if slices.ContainsFunc(q.Patients, func(p string) bool { return slices.Contains(refused, p) }) {
				return denyAll(q)
			}
			return d
		})
	})
	get := func(b string) string {
		body = b
		a := w.do("GET", "/fhir/Observation?code=x&_include=Observation:performer:Practitioner", "")
		if a.status != 200 {
			t.Fatalf("got %d %s for %s", a.status, a.body, b)
		}
		return a.body
	}
	for range 120 {
		refused = nil
		for i := range 6 {
			if rng.IntN(2) == 0 {
				refused = append(refused, fmt.Sprint("p", i))
			}
		}
		all, without := randomBundles(rng, refused)
		got := get(all)
		for _, p := range refused {
			if strings.Contains(got, "marker-"+p) {
				t.Fatalf("of %s, who is refused: %s", p, got)
			}
		}
		if diff := cmp.Diff(get(without), got); diff != "" {
			t.Fatalf("the answer tells that %v are hidden: %s\nof %s", refused, diff, all)
		}
	}
}

// randomBundles are a search's answer and the same of a server that does not know the
// patients who are refused.
func randomBundles(rng *rand.Rand, refused []string) (all, without string) {
	space := func() string { return [...]string{"", " ", "\n\t"}[rng.IntN(3)] }
	var every, rest []string
	doctors, theirs := map[string]bool{}, map[string]bool{}
	for i := range rng.IntN(8) {
		p, doctor := fmt.Sprint("p", rng.IntN(6)), fmt.Sprint("d", rng.IntN(4))
		o := strings.Replace(observation(fmt.Sprint("o", i), p), `"note"`, `"performer":[{"reference":"Practitioner/`+doctor+`"}],"note"`, 1)
		e := fmt.Sprintf(`{%s"resource":%s,%s"search":{"mode":"match"}}`, space(), o, space())
		every = append(every, e)
		doctors[doctor] = true
		if !slices.Contains(refused, p) {
			rest = append(rest, e)
			theirs[doctor] = true
		}
	}
	for i := range 4 {
		d := fmt.Sprint("d", i)
		e := fmt.Sprintf(`{"resource":{"resourceType":"Practitioner","id":%q},"search":{"mode":"include"}}`, d)
		if doctors[d] {
			every = append(every, e)
		}
		if theirs[d] {
			rest = append(rest, e)
		}
	}
	first := rng.IntN(2) == 0
	bundle := func(entries []string) string {
		members := []string{`"resourceType":"Bundle"`, `"type" : "searchset"`, fmt.Sprintf(`"total":%d`, len(entries)), `"link":[{"relation":"self","url":"x"}]`}
		list := `"entry":` + space() + `[` + strings.Join(entries, ","+space()) + `]`
		if first {
			members = slices.Insert(members, 1, list)
		} else {
			members = append(members, list)
		}
		return "{" + space() + strings.Join(members, space()+",") + "}"
	}
	return bundle(every), bundle(rest)
}
