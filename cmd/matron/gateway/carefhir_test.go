package gateway

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/fhir/fhirtest"
	"github.com/matron-epr/matron/policy/care/store"
)

// fhirCare is a feed of a FHIR server that others wrote, with faults to put between.
type fhirCare struct {
	*fhirFeed
	t      *testing.T
	server *fhirtest.Server
	fault  atomic.Pointer[http.HandlerFunc] // answers in the server's place, if not nil
	asked  atomic.Int64
	ids    map[string]string // of what the server holds, by name
}

func newFHIRCare(t *testing.T) *fhirCare {
	t.Helper()
	k := &fhirCare{t: t, server: fhirtest.Start(t), ids: map[string]string{}}
	between, root := k.between()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(fhirtest.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &careService{
		cfg: config.Care{Silence: time.Minute}, dir: dir, register: care.New(care.Windows{}), metrics: newMetrics(), log: slog.New(slog.DiscardHandler), now: time.Now,
	}
	s.cfg.FHIR = config.CareFHIR{Base: between + "/fhir/R4", CAFile: root, TokenFile: token, Patients: "EPR", Every: time.Second, Systems: map[string]string{"https://rba.example.org/mrn": "RBA"}}
	kept, err := store.Open(t.Context(), store.Config{Dir: dir, Register: s.register, Now: time.Now, Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	s.store = kept
	if s.fhir, err = newFHIRFeed(s.cfg.FHIR, s); err != nil {
		t.Fatal(err)
	}
	s.fhir.client.Timeout = 5 * time.Second
	k.fhirFeed = s.fhir
	return k
}

// between passes on to the server what no fault answers.
func (k *fhirCare) between() (address, root string) {
	k.t.Helper()
	target, err := url.Parse(k.server.Base)
	if err != nil {
		k.t.Fatal(err)
	}
	target.Path = ""
	transport, err := transportFor(k.server.CAFile)
	if err != nil {
		k.t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // of which the server makes its links
	}}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.asked.Add(1)
		if fault := k.fault.Load(); fault != nil {
			(*fault)(w, r)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	k.t.Cleanup(server.Close)
	root = filepath.Join(k.t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return server.URL, root
}

// staff makes people and wards on the server, and a list of those who work there.
func (k *fhirCare) staff() {
	k.t.Helper()
	for name, kind := range map[string]string{"ash": "Location", "beech": "Location", "doctor": "Practitioner", "renal": "Organization", "patient": "Patient"} {
		k.ids[name] = k.server.Put(map[string]any{"resourceType": kind})["id"].(string)
	}
	k.care.register.Use(care.Lists{Staff: []care.Person{
		{Person: "nurseA", Wards: []string{k.ids["ash"]}},
		{Person: "nurseB", Wards: []string{k.ids["beech"]}},
		{Person: k.ids["doctor"]},
		{Person: "nephrologist", Teams: []string{k.ids["renal"]}},
	}})
}

func (k *fhirCare) to(kind, name string) map[string]any {
	return map[string]any{"reference": kind + "/" + k.ids[name]}
}

// put keeps a resource under a name of ours, again and again.
func (k *fhirCare) put(name string, resource map[string]any) {
	k.t.Helper()
	if id, ok := k.ids[name]; ok {
		resource["id"] = id
	}
	k.ids[name] = k.server.Put(resource)["id"].(string)
}

// encounter is one of the patient with the doctor, in wards since some hours ago.
func (k *fhirCare) encounter(status string, hours float64, wards ...string) map[string]any {
	start := time.Now().Add(-6 * time.Hour)
	e := map[string]any{
		"resourceType": "Encounter", "status": status, "class": map[string]any{"code": "IMP"}, "subject": k.to("Patient", "patient"),
		"period":      map[string]any{"start": start.Format(time.RFC3339)},
		"participant": []any{map[string]any{"individual": k.to("Practitioner", "doctor")}},
	}
	var places []any
	for i, w := range wards {
		at := start.Add(time.Duration(i) * time.Hour)
		places = append(places, map[string]any{"location": k.to("Location", w), "status": "active", "period": map[string]any{"start": at.Format(time.RFC3339)}})
	}
	e["location"] = places
	if hours > 0 {
		e["period"] = map[string]any{"start": start.Format(time.RFC3339), "end": start.Add(time.Duration(hours * float64(time.Hour))).Format(time.RFC3339)}
	}
	return e
}

// facts asks the server, and then the register about everybody some days from now.
func (k *fhirCare) facts(days int) string {
	k.t.Helper()
	if err := k.round(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	var out []string
	for name, person := range map[string]string{"nurseA": "nurseA", "nurseB": "nurseB", "doctor": k.ids["doctor"], "nephrologist": "nephrologist"} {
		for _, f := range k.care.register.Relations(person, care.ID{Authority: "EPR", Value: k.ids["patient"]}, time.Now().AddDate(0, 0, days)) {
			evidence, _, _ := strings.Cut(f.Control, "#")
			for known, id := range k.ids {
				evidence = strings.Replace(evidence, id, known, 1)
			}
			if f.Source != k.cfg.Base {
				k.t.Errorf("a fact is of %s", f.Source)
			}
			out = append(out, name+" "+f.Relation.String()+" "+evidence)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (k *fhirCare) counted(result string) float64 {
	k.t.Helper()
	var m dto.Metric
	if err := k.care.metrics.care.WithLabelValues(result).Write(&m); err != nil {
		k.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// TestFHIRServerTellsWhoCares admits, transfers, discharges and cancels on a server
// that we did not write: everybody has the relationships that follow, with the resource
// that says so, until it says otherwise.
func TestFHIRServerTellsWhoCares(t *testing.T) {
	t.Parallel()
	k := newFHIRCare(t)
	k.staff()
	appointment := func(status string) map[string]any {
		at := time.Now().Add(24 * time.Hour)
		return map[string]any{
			"resourceType": "Appointment", "status": status, "start": at.Format(time.RFC3339), "end": at.Add(time.Hour).Format(time.RFC3339),
			"participant": []any{
				map[string]any{"status": "accepted", "actor": k.to("Patient", "patient")},
				map[string]any{"status": "accepted", "actor": k.to("Practitioner", "doctor")},
				map[string]any{"status": "accepted", "actor": k.to("Location", "beech")},
			},
		}
	}
	team := func(status, end string) map[string]any {
		period := map[string]any{"start": "2026-01-01"}
		if end != "" {
			period["end"] = end
		}
		return map[string]any{
			"resourceType": "CareTeam", "status": status, "subject": k.to("Patient", "patient"), "period": period,
			"participant":          []any{map[string]any{"member": k.to("Practitioner", "doctor")}},
			"managingOrganization": []any{k.to("Organization", "renal")},
		}
	}
	for _, step := range []struct {
		what, name string
		resource   map[string]any
		days       int
		want       string
	}{
		{"admitted", "stay", k.encounter("in-progress", 0, "ash"), 0, "doctor named-clinician Encounter/stay, nurseA ward-stay Encounter/stay"},
		{"transferred", "stay", k.encounter("in-progress", 0, "ash", "beech"), 0, "doctor named-clinician Encounter/stay, nurseA ward-stay Encounter/stay, nurseB ward-stay Encounter/stay"},
		{"transferred, a week on", "", nil, 8, "doctor named-clinician Encounter/stay, nurseB ward-stay Encounter/stay"},
		{"discharged", "stay", k.encounter("finished", 2, "ash", "beech"), 8, "doctor named-clinician Encounter/stay"},
		{"long discharged", "", nil, 43, ""},
		{"admitted to the wrong ward", "wrong", k.encounter("in-progress", 0, "ash"), 30, "doctor named-clinician Encounter/stay, doctor named-clinician Encounter/wrong, nurseA ward-stay Encounter/wrong"},
		{"cancelled", "wrong", k.encounter("cancelled", 0, "ash"), 30, "doctor named-clinician Encounter/stay"},
		{"booked", "visit", appointment("booked"), 10, "doctor clinic-list Appointment/visit, doctor named-clinician Encounter/stay, nurseB clinic-list Appointment/visit"},
		{"booking cancelled", "visit", appointment("cancelled"), 10, "doctor named-clinician Encounter/stay"},
		{"team", "team", team("active", ""), 200, "doctor named-clinician CareTeam/team, nephrologist team-handover CareTeam/team"},
		{"team ended", "team", team("inactive", time.Now().UTC().Format(time.DateOnly)), 0, "doctor named-clinician CareTeam/team, doctor named-clinician Encounter/stay, nephrologist team-handover CareTeam/team, nurseA ward-stay Encounter/stay, nurseB ward-stay Encounter/stay"},
		{"team long ended", "", nil, 50, ""},
	} {
		if step.resource != nil {
			k.put(step.name, step.resource)
		}
		if got := k.facts(step.days); got != step.want {
			t.Errorf("%s: %s\nwant %s", step.what, got, step.want)
		}
	}
	hospital := care.ID{Authority: "RBA", Value: "17"}
	if got := k.care.register.Relations("nurseA", hospital, time.Now()); len(got) > 0 {
		t.Errorf("by a number that nobody told: %v", got)
	}
	k.put("patient", map[string]any{"resourceType": "Patient", "identifier": []any{map[string]any{"system": "https://rba.example.org/mrn", "value": "17"}}})
	_ = k.facts(0)
	if got := k.care.register.Relations("nurseA", hospital, time.Now()); len(got) != 1 {
		t.Errorf("by the number of the hospital: %v", got)
	}
}

// TestFHIRServerIsAskedForWhatChanged walks pages, and takes each version in once.
func TestFHIRServerIsAskedForWhatChanged(t *testing.T) {
	t.Parallel()
	k := newFHIRCare(t)
	k.staff()
	const many = 230 // more than a page holds
	for range many {
		k.server.Put(k.encounter("in-progress", 0, "ash"))
	}
	k.server.Put(map[string]any{"resourceType": "Encounter", "status": "in-progress"}) // of nobody
	for turn, want := range []struct{ asked, accepted, garbled float64 }{
		{5, many, 1},      // two pages of encounters
		{10, 2 * many, 2}, // what changed of late is asked for again: an entry might have come late
		{15, 2 * many, 2},
	} {
		_ = k.facts(0)
		if got := [3]float64{float64(k.asked.Load()), k.counted("fhir-accepted"), k.counted("fhir-garbled")}; got != [3]float64{want.asked, want.accepted, want.garbled} {
			t.Errorf("after %d rounds: %v, want %v", turn+1, got, want)
		}
	}
	again := &fhirFeed{cfg: k.cfg, read: k.read, client: k.client, care: k.care}
	again.mark.Store(&fhirMark{})
	again.recall(t.Context())
	if got, want := again.mark.Load(), k.mark.Load(); !got.Since.Equal(want.Since) || !got.Heard.Equal(want.Heard) {
		t.Errorf("after a restart %v, want %v", got, want)
	}
	later := *k.mark.Load()
	later.Since = time.Now().Add(time.Hour)
	again.mark.Store(&later)
	if err := again.round(t.Context()); err != nil || k.asked.Load() != 19 || k.counted("fhir-accepted") != 2*many {
		t.Errorf("what changed before is asked for: %d pages, %v", k.asked.Load(), err)
	}
	date := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	behind := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Bundle"}`))
	})
	k.fault.Store(&behind)
	if err := k.round(t.Context()); err != nil || !k.mark.Load().Since.Equal(date) || time.Since(k.mark.Load().Heard) > time.Hour {
		t.Errorf("of a server whose clock is behind, what changed is known until %v, %v", k.mark.Load(), err)
	}
	again.read.Patients, again.cfg.Patients = "RZZ", "RZZ"
	again.mark.Store(&fhirMark{})
	if again.recall(t.Context()); !again.mark.Load().Since.IsZero() {
		t.Error("resources that are read otherwise are not asked for again")
	}
}

// TestFHIRFaultsAreNotTakenForNoNews puts everything between that a server, or what
// stands before it, may answer instead: it is never taken for an answer, the log can
// say what it is and names no patient, and afterwards nothing is missing.
func TestFHIRFaultsAreNotTakenForNoNews(t *testing.T) {
	t.Parallel()
	k := newFHIRCare(t)
	k.staff()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	text := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		}
	}
	const json, patient = "application/fhir+json", "9990000018"
	_ = k.facts(0)
	before := *k.mark.Load()
	k.put("stay", k.encounter("in-progress", 0, "ash"))
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"server error": {status(500), "status 500"},
		"too often":    {status(429), "status 429"},
		"moved":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "status 302"},
		"slow":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time"},
		"stalls": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", json)
			_, _ = w.Write([]byte("{"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // returning would end the answer as if it were whole
		}, "breaks off"},
		"hangs up":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer"},
		"sign-in":    {text("text/html", `{"resourceType":"Bundle"}`), `"text/html"`},
		"garbage":    {text(json, `{"resourceType":"Bundle","entry":[`+patient), "no Bundle"},
		"more":       {text(json, `{"resourceType":"Bundle"} `+patient), "no Bundle"},
		"nothing":    {text(json, ""), "no Bundle"},
		"null":       {text(json, "null"), "no Bundle"},
		"outcome":    {text(json, `{"resourceType":"OperationOutcome","text":"`+patient+`"}`), "no Bundle"},
		"huge":       {text(json, `{"resourceType":"Bundle","x":"`+strings.Repeat("x", maxFHIRPage)+`"}`), "larger than 16 MiB"},
		"elsewhere":  {text(json, `{"resourceType":"Bundle","link":[{"relation":"next","url":"https://127.0.0.1:1/`+patient+`"}]}`), "care.fhir.base"},
		"no address": {text(json, `{"resourceType":"Bundle","link":[{"relation":"next","url":"https://[`+patient+`"}]}`), "cannot be read"},
		"a circle": {func(w http.ResponseWriter, r *http.Request) {
			text(json, fmt.Sprintf(`{"resourceType":"Bundle","link":[{"relation":"next","url":%q}]}`, r.URL.String()))(w, r)
		}, "is the same"},
	} {
		if name == "slow" || name == "stalls" {
			k.client.Timeout = 200 * time.Millisecond
		}
		k.failsWith(name, c.answer, c.want, before)
		k.client.Timeout = 5 * time.Second
	}
	if err := os.WriteFile(k.cfg.TokenFile, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.failsWith("a token that has expired", nil, "status 401", before) // says Medplum
	if err := os.WriteFile(k.cfg.TokenFile, []byte(fhirtest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := k.care.limited(); len(l) != 1 || l[0].name != k.cfg.Base || !l[0].last.Equal(before.Heard) || l[0].limit != time.Minute {
		t.Errorf("last heard of: %+v", l)
	}
	if got := k.facts(0); !strings.Contains(got, "nurseA ward-stay Encounter/stay") {
		t.Errorf("afterwards: %q", got)
	}
	c := k.cfg
	c.CAFile = k.server.CAFile
	strange, err := newFHIRFeed(c, k.care)
	if err != nil {
		t.Fatal(err)
	}
	if err := strange.round(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate is refused") {
		t.Errorf("the certificate of somebody else: %v", err)
	}
}

// failsWith wants a round to fail and to leave no mark.
func (k *fhirCare) failsWith(name string, answer http.HandlerFunc, want string, before fhirMark) {
	k.t.Helper()
	if answer != nil {
		k.fault.Store(&answer)
	}
	err := k.round(context.Background())
	k.fault.Store(nil)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "9990000018") || strings.Contains(err.Error(), "_lastUpdated") {
		k.t.Errorf("%s: %v, want %s", name, err, want)
	}
	if got := k.mark.Load(); !got.Since.Equal(before.Since) || !got.Heard.Equal(before.Heard) {
		k.t.Errorf("%s: known until %v", name, got)
	}
}
