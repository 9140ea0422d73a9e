package learn

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy/appmap"
)

var update = flag.Bool("update", false, "rewrite what is expected")

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func query() audit.WaivedQuery {
	return audit.WaivedQuery{App: "wardbook", From: noon.Add(-time.Hour), To: noon.Add(time.Hour)}
}

// visit is a request of a person at a minute past noon.
func visit(person string, minute int, method, target string) Request {
	path, query, _ := strings.Cut(target, "?")
	return Request{Method: method, Path: path, Query: query, Person: person, Time: noon.Add(time.Duration(minute) * time.Minute), Status: "2xx"}
}

func yamlOf(t *testing.T, p *Proposal) string {
	t.Helper()
	p.Source = "the journal"
	var b bytes.Buffer
	if err := p.WriteYAML(&b, time.UTC); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// observed is a morning of an application that no map describes.
func observed() *Tally {
	t := New(query(), "/ward")
	for i := range 12 {
		t.Add(visit(fmt.Sprint("S", i%4), i, "GET", fmt.Sprintf("/ward/patients/%d/notes?page=%d", 40+i%3, i)))
		t.Add(visit("S1", i, "GET", fmt.Sprintf("/ward/lookup?nhs_number=%s", nhs(i))))
	}
	for i := range 5 {
		t.Add(visit("S2", i, "POST", "/ward/patients/41/notes?token=hush"))
		t.Add(visit("S2", i, "GET", fmt.Sprintf("/ward/patients/search?q=Smith%d", i)))
		t.Add(visit("S2", i, "GET", "/ward/worklist"))
	}
	for i := range 20 {
		t.Add(visit("S3", i, "GET", fmt.Sprintf("/ward/patients/P%04d", i)))
	}
	t.Add(visit("S3", 30, "PUT", "/ward/encounter/6ba7b810-9dad-11d1-80b4-00c04fd430c8?patientId=41"))
	t.Add(visit("S3", 31, "GET", "/ward/encounter/"))
	t.Add(visit("S3", 32, "HEAD", "/ward"))
	t.Add(visit("S3", 33, "PROPFIND", "/ward/files"))
	t.Add(visit("S3", 34, "DELETE", "/ward/Jones/7"))
	t.Add(visit("S3", 35, "GET", "/other/patients/41"))
	return t
}

// nhs is a number of the 999 range with a valid check digit.
func nhs(i int) string {
	for n := 9990000000 + i*100; ; n++ {
		if s := fmt.Sprint(n); isNHSNumber(s) {
			return s
		}
	}
}

func TestProposalIsAMapToFillIn(t *testing.T) {
	p := observed().Proposal()
	got := yamlOf(t, &p)
	if *update {
		if err := os.WriteFile("testdata/wardbook.yaml", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/wardbook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	again := observed().Proposal()
	if diff := cmp.Diff(got, yamlOf(t, &again)); diff != "" {
		t.Errorf("the same requests give another proposal: %s", diff)
	}
}

// TestOnlyWhatIsToFillInIsWrong: the checker names each TODO and nothing else, and
// the map is valid once they are filled in.
func TestOnlyWhatIsToFillInIsWrong(t *testing.T) {
	p := observed().Proposal()
	text := yamlOf(t, &p)
	_, err := appmap.Parse("draft.yaml", []byte(text))
	if err == nil {
		t.Fatal("a draft is valid")
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, "is still to be filled in") {
			t.Errorf("not to fill in: %s", line)
		}
	}
	text = strings.ReplaceAll(text, "area: TODO", "area: notes")
	text = strings.ReplaceAll(text, "value: TODO", `value: "json:/patient"`)
	if _, err := appmap.Parse("draft.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

// TestNothingOfARequestIsShown: whatever stands in a path or a query, only words
// of applications come out.
func TestNothingOfARequestIsShown(t *testing.T) {
	secrets := []string{
		"9990000018", "999-000-0018", "999%20000%200018", "Smith", "smith", "O'Brien", "van-der-Berg", "JohnSmith", "john.smith", "smith.pdf",
		"Page", "page", "Ward", "Nurse", "j.smith@nhs.example", "j.smith%40nhs.example", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"1.2.840.113619.2.55", "AB1234", "M%C3%BCller", "Li", "Grace-Notes", "1970-02-01", "QA1_1AA", "eyJhbGciOiJIUzI1NiJ9.e30.x", "{Smith}", "<Jones>", ":Smith",
		"SmithNotes", "notes-smith", "EHRSMITH", "patient%2FSmith", "12", "v123456",
	}
	for _, secret := range secrets {
		for _, target := range []string{
			"/patients/" + secret, "/patients/" + secret + "/notes", "/patient/by-name/" + secret + "/" + secret, "/search/" + secret,
			"/notes?" + secret, "/notes?patient=" + secret, "/notes?" + secret + "=1&id=" + secret, "/notes?a=1&&" + secret + "&b", "/user/5/" + secret,
		} {
			if (secret == "Page" || secret == "page" || secret == "Ward" || secret == "Nurse") && (strings.Contains(target, "=1&id") || strings.Contains(target, "/user/5/")) {
				continue // there no name stands: a parameter with a value, a part after a number
			}
			tally := New(audit.WaivedQuery{App: "wardbook"}, "")
			for i := range 30 { // however many people ask for it
				tally.Add(visit(fmt.Sprint("S", i), i, "GET", target))
			}
			p := tally.Proposal()
			text := yamlOf(t, &p)
			asJSON, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			bare := strings.ToLower(strings.Trim(secret, "{}<>:"))
			for _, out := range []string{text, string(asJSON)} {
				shown := strings.ToLower(out)
				if _, rest, ok := strings.Cut(shown, "\nrules:"); ok {
					shown = rest
				}
				if slices.Contains(words0(shown), bare) || len(bare) > 6 && strings.Contains(shown, bare) {
					t.Fatalf("%s of %s is in the proposal:\n%s", secret, target, out)
				}
			}
		}
	}
}

// words0 are the texts of rules: what stands in paths, ids, names and places.
func words0(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "# {") || strings.HasPrefix(line, "# 30 requests") {
			continue // counts
		}
		all = append(all, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(`/"{}:,[]() `, r) })...)
	}
	return all
}

func TestAWordIsShownOnlyWhereNoNameCanStand(t *testing.T) {
	w := newWords([]string{"OphCiExamination", "Ward"})
	for _, row := range []struct {
		path, want string
	}{
		{"/wards/OBS1", "/wards/{ward}"},
		{"/bed/ward", "/bed/ward"},
		{"/patient/ward", "/patient/{word}"},
		{"/patient/Ward", "/patient/{word}"},
		{"/Smith/ward", "/{word}/{word2}"},
		{"/patient/summary/5", "/patient/summary/{id:number}"},
		{"/interface/patient_file/summary/demographics.php", "/interface/patient_file/summary/demographics.php"},
		{"/apis/default/api/patient/5/encounter/7/vital", "/apis/default/api/patient/{patient:number}/encounter/{encounter:number}/vital"},
		{"/ws/rest/v1/visit/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "/ws/rest/v1/visit/{visit:hex}"},
		{"/OphCiExamination/Default/view/3", "/OphCiExamination/Default/view/{id:number}"},
		{"/OphTrConsent/Default/view/3", "/{word}/Default/view/{id:number}"},
		{"/patients/{id}/notes", "/patients/{patient}/notes"},
		{"/patients/***/notes", "/patients/{patient}/notes"},
		{"/studies/1.2.840.1/series", "/studies/{id:uid}/series"},
		{"/v2/drug/2", "/v2/drug/{id:number}"},
		{"/ward12", "/{id}"},
		{"/", "/"},
		{"/notes/", "/notes/**"},
		{"/notes//7", "/notes/{word}/{id:number}"},
		{strings.Repeat("/notes", 30), strings.Repeat("/notes", 24) + "/**"},
	} {
		tally := &Tally{words: w}
		at, _ := tally.shapeOf(strings.Split(strings.TrimPrefix(row.path, "/"), "/"))
		if got := at.pattern(); got != row.want {
			t.Errorf("%s: %s, want %s", row.path, got, row.want)
		}
	}
}

func TestRecordsOfUnmappedRequestsCount(t *testing.T) {
	unmapped := audit.Record{
		Source: "gw1", Kind: audit.KindDecision, App: "wardbook", Mode: "observe", Time: noon, WouldDeny: true,
		Reasons: []string{audit.ReasonUnmapped}, Method: "POST", Target: "/ward/notes", Query: "patient=41", Person: "S1", Detail: []string{"content=application/json"},
	}
	change := func(f func(*audit.Record)) *audit.Record {
		r := unmapped
		f(&r)
		return &r
	}
	tally := New(query(), "/ward")
	for i, r := range []*audit.Record{
		change(func(r *audit.Record) { r.Seq = 1 }),
		change(func(r *audit.Record) { r.Seq, r.Mode = 2, "bypass" }),
		change(func(r *audit.Record) { r.Seq, r.Mode = 3, "enforce" }),
		change(func(r *audit.Record) { r.Seq, r.App = 4, "other" }),
		change(func(r *audit.Record) { r.Seq, r.Time = 5, noon.Add(2*time.Hour) }),
		change(func(r *audit.Record) { r.Seq, r.Reasons = 6, []string{"role-not-permitted"} }),
		change(func(r *audit.Record) { r.Seq, r.Kind = 7, audit.KindPatient }),
		{Source: "gw1", Seq: 8, Kind: audit.KindOutcome, Decision: 1, Status: 201},
		{Source: "gw2", Seq: 8, Kind: audit.KindOutcome, Decision: 2, Status: 500}, // of another gateway
		{Source: "gw1", Seq: 9, Kind: audit.KindOutcome, Decision: 6, Status: 403},
	} {
		tally.AddRecord(r)
		if i == 0 && len(tally.open) != 1 {
			t.Error("the outcome is not waited for")
		}
	}
	p := tally.Proposal()
	if len(p.Rules) != 1 {
		t.Fatalf("%d rules", len(p.Rules))
	}
	r := p.Rules[0]
	if r.Requests != 2 || r.People != 1 || r.Content["application/json"] != 2 || r.Patient[0].Value != "query:patient" {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(map[string]uint64{"2xx": 1}, r.Status); diff != "" {
		t.Error(diff)
	}
	if len(tally.open) != 1 {
		t.Errorf("%d outcomes are waited for", len(tally.open))
	}
}

func TestAccessesOfAFile(t *testing.T) {
	tally := New(query(), "")
	for _, row := range []struct {
		line string
		bad  bool
	}{
		{`{"id":"1","time":"2026-11-03T12:00:00Z","person":"S1","action":"read","path":"/patients/41","outcome":"success"}`, false},
		{`{"id":"2","time":"2026-11-03T12:00:00Z","person":"S2","action":"update","screen":"https://epr.example/patients/42?tab=notes"}`, false},
		{`{"id":"3","time":"2026-11-03T12:00:00Z","person":"S2","action":"read","resource":"/patients/41","method":"POST","status":404}`, false},
		{`{"id":"4","time":"2026-11-03T12:00:00Z","person":"S2","action":"read","path":"/patients/41","app":"other"}`, false},
		{`{"id":"5","time":"2025-11-03T12:00:00Z","person":"S2","action":"read","path":"/patients/41"}`, false},
		{`{"id":"6","time":"2026-11-03T12:00:00Z","person":"S2","action":"read","screen":"Demographics"}`, true},
		{`{"id":"7","time":"2026-11-03T12:00:00Z","action":"read","path":"/patients/41"}`, true},
		{`{"id":"8","person":"S2","action":"read","path":"/patients/41"}`, true},
		{`hello Smith`, true},
	} {
		err := tally.AddAccess([]byte(row.line))
		if (err != nil) != row.bad {
			t.Errorf("%s: %v", row.line, err)
		}
		if err != nil && strings.Contains(err.Error(), "Smith") {
			t.Errorf("the error quotes the line: %v", err)
		}
	}
	p := tally.Proposal()
	var got []string
	for _, r := range p.Rules {
		got = append(got, fmt.Sprint(r.Method, " ", r.Path, " ", r.Status, " ", r.Notes))
	}
	want := []string{
		"GET /patients/{patient:number} map[success:1] [the method is concluded from the action]",
		"POST /patients/{patient:number} map[4xx:1] []",
		"PUT /patients/{patient:number} map[] [the method is concluded from the action]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestManyRoutesAreBounded: what cannot be told apart any more is counted.
func TestManyRoutesAreBounded(t *testing.T) {
	tally := New(query(), "")
	names := slices.Sorted(func(yield func(string) bool) {
		for w := range tally.words.known {
			if !yield(w) {
				return
			}
		}
	})
	for i := range maxRoutes + 5 {
		tally.Add(visit("S1", 0, "GET", "/list/"+names[i%len(names)]+"/"+names[i/len(names)]))
	}
	p := tally.Proposal()
	if len(p.Rules) > maxRoutes || p.NotListed == 0 || p.Requests != maxRoutes+5 {
		t.Errorf("%d rules, %d not listed", len(p.Rules), p.NotListed)
	}
}
