package breakglass_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// hazard:GW-01 control:C-01
// hazard:GW-10 control:C-43
func TestOneStepFromRefusalToRecord(t *testing.T) {
	w := newWard(t)
	path := w.Offer(t.Context(), w.refused("ada", "4711"))
	page, err := w.Page(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{
		"You do not look after this patient.", "number 4711", "Dr ada", "15:02, or until you sign out", "for 60 minutes",
		"are recorded, and the privacy officer looks at it", "Nobody else is shut out", `action="` + path + `"`, "0190-reference",
	} {
		if !strings.Contains(string(page), said) {
			t.Errorf("the page does not say %q", said)
		}
	}
	if strings.Contains(string(page), "checked") || strings.Count(string(page), `type="radio"`) > 6 {
		t.Error("a reason is chosen beforehand, or there are too many")
	}
	a := w.ask(w.Service, "ada", "POST", path, url.Values{"reason": {"caring"}, "note": {"Handed over\r\nby ward 7"}})
	if a.status != http.StatusSeeOther || a.location != "/epr/patient/4711" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %+v", a)
	}
	g := w.Granted(w.refused("ada", "").Subject, "RBA", "epr", []proxy.Patient{{ID: "4711"}})
	if g.ID == "" || !g.Until.Equal(w.now().Add(time.Hour)) || g.Purpose != "BTG" {
		t.Errorf("granted %+v", g)
	}
	starts := w.log.of(audit.KindBreakGlassStart)
	if len(starts) != 1 {
		t.Fatalf("%d records", len(starts))
	}
	r := starts[0]
	want := []string{"grant=" + g.ID, "reason=caring", "expires=2026-11-03T15:02:00Z", "note=Handed over by ward 7", "refused=no-relationship", "counts_in=authority:MGH application:epr"}
	if diff := cmp.Diff(want, r.Detail); diff != "" {
		t.Error(diff)
	}
	if r.Request != "0190-reference" || r.Person != "p-ada" || r.Patient != "4711" || r.Purpose != "BTG" || r.Basis != "break-glass:"+g.ID || r.Site != "RBA" || r.App != "epr" {
		t.Errorf("recorded %+v", r)
	}
	if strings.Contains(w.logged.String()+path, "4711") {
		t.Error("a patient in the log or in an address")
	}
}

// A grant is for one person and one patient, in one application unless the NHS number
// says that it is the same patient.
func TestGrantIsForOnePersonAndOnePatient(t *testing.T) {
	w := newWard(t)
	r := w.refused("ada", "4711")
	r.Patient.NHSNumber = "9990000018"
	path := w.Offer(t.Context(), r)
	w.ask(w.Service, "ada", "POST", path, emergency())
	same := proxy.Patient{ID: "4711"}
	for _, row := range []struct {
		name, who, site, app string
		patients             []proxy.Patient
		want                 bool
	}{
		{"as granted", "ada", "RBA", "epr", []proxy.Patient{same}, true},
		{"twice the same", "ada", "RBA", "epr", []proxy.Patient{same, same}, true},
		{"by NHS number elsewhere", "ada", "RBA", "pacs", []proxy.Patient{{ID: "X1", NHSNumber: "9990000018"}}, true},
		{"another person", "ben", "RBA", "epr", []proxy.Patient{same}, false},
		{"another patient", "ada", "RBA", "epr", []proxy.Patient{{ID: "4712"}}, false},
		{"another patient with the number written beside", "ada", "RBA", "epr", []proxy.Patient{{ID: "4712", NHSNumber: "9990000018"}}, false},
		{"by NHS number here", "ada", "RBA", "epr", []proxy.Patient{{NHSNumber: "9990000018"}}, true},
		{"another patient besides", "ada", "RBA", "epr", []proxy.Patient{same, {ID: "4712"}}, false},
		{"the same id elsewhere", "ada", "RBA", "pacs", []proxy.Patient{same}, false},
		{"the same number of the same authority elsewhere", "ada", "RBA", "ris", []proxy.Patient{same}, true},
		{"another number of the same authority with the NHS number beside", "ada", "RBA", "ris", []proxy.Patient{{ID: "4712", NHSNumber: "9990000018"}}, false},
		{"another site", "ada", "RXX", "epr", []proxy.Patient{{ID: "4711", NHSNumber: "9990000018"}}, false},
		{"nobody named", "ada", "RBA", "epr", nil, false},
		{"a patient without a name", "ada", "RBA", "epr", []proxy.Patient{{}}, false},
	} {
		got := w.Granted(w.refused(row.who, "").Subject, row.site, row.app, row.patients)
		if (got.ID != "") != row.want || strings.Contains(got.ID, " ") {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
	if g := w.Granted(policy.Subject{}, "RBA", "epr", []proxy.Patient{same}); g.ID != "" {
		t.Errorf("nobody: %+v", g)
	}
}

// Without a durable record nobody is let in, whichever way it failed, and the same form
// works once it can be recorded.
func TestNoRecordNoGrant(t *testing.T) {
	for _, f := range []fault{lost, persisted} {
		w := newWard(t)
		path := w.Offer(t.Context(), w.refused("ada", "4711"))
		w.log.fail(f)
		if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != http.StatusServiceUnavailable || w.in(w.Service) {
			t.Errorf("fault %d: got %d", f, a.status)
		}
		w.log.fail(noFault)
		if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != http.StatusSeeOther || !w.in(w.Service) {
			t.Errorf("afterwards: got %d", a.status)
		}
	}
}

// An offer is good once, on all gateways together; a second click leads on and
// records nothing.
func TestOfferIsUsedOnce(t *testing.T) {
	w := newWard(t)
	other := w.gateway(w.openDB())
	path := w.Offer(t.Context(), w.refused("ada", "4711"))
	var clicks sync.WaitGroup
	for _, s := range []*breakglass.Service{w.Service, other, w.Service, other} {
		clicks.Go(func() {
			if a := w.ask(s, "ada", "POST", path, emergency()); a.status != http.StatusSeeOther && a.status != http.StatusConflict && a.status != http.StatusGone {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	clicks.Wait()
	if n := len(w.log.of(audit.KindBreakGlassStart)); n != 1 {
		t.Errorf("%d records", n)
	}
	turn(t, w.Service)
	if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != http.StatusSeeOther || a.location != "/epr/patient/4711" {
		t.Errorf("once more: %+v", a)
	}
}

// What one gateway grants and ends counts on the others, and after a restart.
// hazard:GW-02 control:C-06
func TestGatewaysShareGrants(t *testing.T) {
	w := newWard(t)
	other := w.gateway(w.openDB())
	w.breaks("ada", "4711")
	if w.in(other) || !other.Renew(t.Context(), w.refused("ada", "").Subject) || !w.in(other) {
		t.Error("the other gateway does not learn of it when it looks")
	}
	restarted := w.gateway(w.openDB())
	if !w.in(restarted) {
		t.Error("a restart forgets it")
	}
	restarted.SessionEnded("session-of-ada")
	if w.in(restarted) {
		t.Error("it outlives the session")
	}
	turn(t, other)
	turn(t, w.Service)
	if w.in(other) || w.in(w.Service) {
		t.Error("another gateway keeps it")
	}
	ends := w.log.of(audit.KindBreakGlassEnd)
	if len(ends) != 1 || ends[0].Detail[1] != "cause=session" || ends[0].Patient != "4711" {
		t.Errorf("ends %+v", ends)
	}
}

// A grant ends at its time, when its person ends it, and with the session; each is
// recorded once, and what is open is looked at again.
func TestEveryEndIsRecordedOnce(t *testing.T) {
	for cause, end := range map[string]func(*ward){
		"time": func(w *ward) {
			w.offset.Store(int64(time.Hour))
			if w.in(w.Service) {
				w.t.Error("it lets in at its end")
			}
			turn(w.t, w.Service)
		},
		"person": func(w *ward) {
			id := w.Granted(w.refused("ada", "").Subject, "RBA", "epr", []proxy.Patient{{ID: "4711"}}).ID
			w.ask(w.Service, "ben", "POST", breakglass.Path+"/end", url.Values{"grant": {id}})
			if !w.in(w.Service) {
				w.t.Error("somebody else ended it")
			}
			if a := w.ask(w.Service, "ada", "POST", breakglass.Path+"/end", url.Values{"grant": {id}}); a.status != http.StatusSeeOther || a.location != breakglass.Path {
				w.t.Errorf("got %+v", a)
			}
		},
		"session": func(w *ward) {
			w.SessionEnded("session-of-ben")
			w.SessionEnded("")
			if !w.in(w.Service) {
				w.t.Error("another session ended it")
			}
			w.SessionEnded("session-of-ada")
		},
	} {
		w := newWard(t)
		other := w.gateway(w.openDB())
		w.breaks("ada", "4711")
		turn(t, other)
		end(w)
		turn(t, w.Service)
		turn(t, other)
		ends := w.log.of(audit.KindBreakGlassEnd)
		if w.in(w.Service) || len(ends) != 1 || ends[0].Detail[1] != "cause="+cause || ends[0].Person != "p-ada" || w.changed.Load() == 0 {
			t.Errorf("%s: %d ends %+v, %d told", cause, len(ends), ends, w.changed.Load())
		}
	}
}

// Signing in again goes on with what was granted; the end of the old session does not
// end it.
func TestGrantGoesOnInTheNextSession(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	w.SessionRenewed(t.Context(), "session-of-ada", "the next")
	w.SessionEnded("session-of-ada")
	if !w.in(w.Service) || !w.in(w.gateway(w.openDB())) {
		t.Error("it ended")
	}
	w.SessionEnded("the next")
	if w.in(w.Service) {
		t.Error("it does not end")
	}
}

// hazard:GW-09 control:C-37
func TestFormIsHeldAgainstItsOffer(t *testing.T) {
	w := newWard(t)
	path := w.Offer(t.Context(), w.refused("ada", "4711"))
	for _, row := range []struct {
		name, who, method, path string
		form                    url.Values
		headers                 []string
		status                  int
		says                    string
	}{
		{"nothing chosen", "ada", "POST", path, url.Values{"note": {"kept"}}, nil, 422, ">kept</textarea>"},
		{"no such reason", "ada", "POST", path, url.Values{"reason": {"curiosity"}}, nil, 422, "Choose why you need the record now"},
		{"other without words", "ada", "POST", path, url.Values{"reason": {"other"}, "note": {" \n"}}, nil, 422, `value="other" checked`},
		{"a novel", "ada", "POST", path, url.Values{"reason": {"other"}, "note": {strings.Repeat("x", 501)}}, nil, 422, "500 characters or fewer"},
		{"another person", "ben", "POST", path, emergency(), nil, 404, "not yours"},
		{"another person looks", "ben", "GET", path, nil, nil, 404, "not yours"},
		{"no such offer", "ada", "POST", breakglass.Path + "/zzzz", emergency(), nil, 404, "Open the patient"},
		{"nobody", "", "POST", path, emergency(), nil, 401, "Sign in and go on"},
		{"nobody can tell", "unavailable", "POST", path, emergency(), nil, 503, "downtime procedure"},
		{"another website", "ada", "POST", path, emergency(), []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
	} {
		a := w.ask(w.Service, row.who, row.method, row.path, row.form, row.headers...)
		if a.status != row.status || !strings.Contains(a.body, row.says) || a.location != "" {
			t.Errorf("%s: got %d %q %s", row.name, a.status, a.location, a.body)
		}
	}
	if a := w.ask(w.Service, "", "GET", path, nil); a.status != 303 || a.location != "/.matron/sign-in?return="+url.QueryEscape(path) {
		t.Errorf("nobody looks: %+v", a)
	}
	w.offset.Store(int64(31 * time.Minute))
	if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != http.StatusGone {
		t.Errorf("too late: %+v", a)
	}
	if len(w.log.of(audit.KindBreakGlassStart)) != 0 || w.in(w.Service) {
		t.Error("one of them was granted")
	}
}

// For a protected record people prove anew that it is they, unless the sign-in service
// does not answer: the record says which.
func TestProtectedRecordAsksForSigningInAgain(t *testing.T) {
	for _, row := range []struct {
		name   string
		age    time.Duration // of the sign-in
		works  bool
		status int
		again  string
		says   string
	}{
		{"long ago", time.Hour, true, 403, "", "Sign in again first"},
		{"not known when", 0, true, 403, "", "Sign in again first"},
		{"just now", time.Minute, true, 303, "done", ""},
		{"not to be had", time.Hour, false, 303, "unavailable", ""},
	} {
		w := newWard(t)
		w.people.set("ada", func(s *policy.Subject) {
			s.AuthTime = w.now().Add(-row.age)
			if row.age == 0 {
				s.AuthTime = time.Time{}
			}
		})
		w.works.Store(row.works)
		r := w.refused("ada", "4711")
		r.Sensitivity.Classes = []string{"staff"}
		path := w.Offer(t.Context(), r)
		page := w.ask(w.Service, "ada", "GET", path, nil).body
		if asks := strings.Contains(page, "/.matron/sign-in?again=now&amp;return="+url.QueryEscape(path)); asks != (row.status == 403) {
			t.Errorf("%s: the page asks %v", row.name, asks)
		}
		if !row.works && !strings.Contains(page, "The sign-in service does not answer") {
			t.Errorf("%s: %s", row.name, page)
		}
		a := w.ask(w.Service, "ada", "POST", path, emergency())
		if a.status != row.status || !strings.Contains(a.body, row.says) || w.in(w.Service) != (row.status == 303) {
			t.Errorf("%s: got %d", row.name, a.status)
		}
		for _, start := range w.log.of(audit.KindBreakGlassStart) {
			if start.Detail[3] != "signed_in_again="+row.again {
				t.Errorf("%s: %v", row.name, start.Detail)
			}
		}
	}
}

// While the database does not answer people are let in all the same, and it is written
// down when it does.
// hazard:GW-01 control:C-02
func TestDatabaseIsNotInTheWay(t *testing.T) {
	w := newWard(t)
	if _, err := w.db.ExecContext(t.Context(), "ALTER TABLE breakglass_offer RENAME TO gone_offer; ALTER TABLE breakglass_grant RENAME TO gone_grant"); err != nil {
		t.Fatal(err)
	}
	w.breaks("ada", "4711")
	w.breaks("ada", "4712")
	a := w.ask(w.Service, "ada", "GET", breakglass.Path, nil)
	if !w.in(w.Service) || !strings.Contains(a.body, "cannot be read just now") || strings.Count(a.body, "End it now") != 2 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	turn(t, w.Service)
	if !w.in(w.Service) {
		t.Error("a turn without the database forgets it")
	}
	w.SessionEnded("session-of-ada")
	if w.in(w.Service) {
		t.Error("it does not end without the database")
	}
	if _, err := w.db.ExecContext(t.Context(), "ALTER TABLE gone_offer RENAME TO breakglass_offer; ALTER TABLE gone_grant RENAME TO breakglass_grant"); err != nil {
		t.Fatal(err)
	}
	turn(t, w.Service)
	found, err := w.Of(t.Context(), w.refused("ada", "").Subject, 10)
	if err != nil || len(found) != 2 || found[0].Cause != breakglass.BySession || len(w.log.of(audit.KindBreakGlassEnd)) != 2 {
		t.Errorf("%v %+v", err, found)
	}
}

// A page's many requests make one offer; another page, person or session another.
func TestRequestsOfOnePageShareAnOffer(t *testing.T) {
	w := newWard(t)
	r := w.refused("ada", "4711")
	first := w.Offer(t.Context(), r)
	if second := w.Offer(t.Context(), r); second != first {
		t.Error("two offers")
	}
	r.Return = "/epr/another"
	if w.Offer(t.Context(), r) == first || w.Offer(t.Context(), w.refused("ada", "4712")) == first || w.Offer(t.Context(), w.refused("ben", "4711")) == first {
		t.Error("one offer for different things")
	}
}

// Saying what for opens nothing by itself: it goes into the question.
func TestPurposeIsStatedOnce(t *testing.T) {
	w := newWard(t)
	r := w.refused("ada", "4711")
	r.Offer = policy.Purpose
	path := w.Offer(t.Context(), r)
	page := w.ask(w.Service, "ada", "GET", path, nil).body
	if !strings.Contains(page, "What do you need it for?") || strings.Contains(page, "textarea") || strings.Contains(page, "privacy officer") {
		t.Errorf("%s", page)
	}
	if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != 422 {
		t.Errorf("a reason of an emergency: %d", a.status)
	}
	if a := w.ask(w.Service, "ada", "POST", path, url.Values{"reason": {"COC"}}); a.status != 303 || a.location != "/epr/patient/4711" {
		t.Errorf("got %+v", a)
	}
	g := w.Granted(r.Subject, "RBA", "epr", []proxy.Patient{{ID: "4711"}})
	if g.ID != "" || g.Purpose != "COC" || len(w.log.of(audit.KindBreakGlassStart)) != 0 || len(w.Open(r.Subject)) != 0 {
		t.Errorf("granted %+v", g)
	}
	w.breaks("ada", "4711")
	if g := w.Granted(r.Subject, "RBA", "epr", []proxy.Patient{{ID: "4711"}}); g.ID == "" || g.Purpose != "BTG" {
		t.Errorf("an emergency counts more: %+v", g)
	}
}

// hazard:GW-09 control:C-38
func TestOwnListShowsOwnAccesses(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	w.breaks("ben", "4712")
	body := w.ask(w.Service, "ada", "GET", breakglass.Path, nil).body
	if strings.Count(body, "BG-") != 3 || !strings.Contains(body, "3 November 2026, 15:02") || !strings.Contains(body, "An emergency: the patient needs care now") {
		t.Errorf("%s", body)
	}
	if strings.Contains(body, "4711") {
		t.Error("the list names patients")
	}
	if until := w.Open(w.refused("ada", "").Subject); len(until) != 1 || !until[0].Equal(w.now().Add(time.Hour)) {
		t.Errorf("open %v", until)
	}
}

// No page and no banner says that emergency access lasts longer than it does, whatever
// the seconds of the clock.
func TestNoPageSaysLaterThanTheEnd(t *testing.T) {
	w := newWard(t)
	w.offset.Store(int64(59*time.Second + 999*time.Millisecond))
	offered, err := w.Page(t.Context(), w.Offer(t.Context(), w.refused("ada", "4711")))
	if err != nil {
		t.Fatal(err)
	}
	w.breaks("ada", "4711")
	list := w.ask(w.Service, "ada", "GET", breakglass.Path, nil).body
	if !strings.Contains(string(offered), "15:02, or until you sign out") || !strings.Contains(list, "3 November 2026, 15:02") || strings.Contains(string(offered)+list, "15:03") {
		t.Errorf("%s%s", offered, list)
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := newWard(t)
	good := breakglass.Config{DB: w.db, Log: w.log, Logger: slog.New(slog.DiscardHandler), Now: w.now, Identifier: w.people, SignInPath: "/x"}
	for name, change := range map[string]func(*breakglass.Config){
		"no database":  func(c *breakglass.Config) { c.DB = nil },
		"no log":       func(c *breakglass.Config) { c.Log = nil },
		"too long":     func(c *breakglass.Config) { c.Lasts = 2*time.Hour + 1 },
		"negative":     func(c *breakglass.Config) { c.Lasts = -1 },
		"many reasons": func(c *breakglass.Config) { c.Reasons = make([]breakglass.Reason, 7) },
	} {
		c := good
		change(&c)
		if _, err := breakglass.New(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := breakglass.New(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// A note is measured in characters, as the page says and as reviewers' notes are, and
// is on record whole.
func TestNoteIsMeasuredInCharacters(t *testing.T) {
	w := newWard(t)
	path := w.Offer(t.Context(), w.refused("ada", "4711"))
	form := func(n int) url.Values {
		return url.Values{"reason": {"other"}, "note": {strings.Repeat("ж", n-2) + "\r\nж"}}
	}
	if a := w.ask(w.Service, "ada", "POST", path, form(501)); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "The note must be 500 characters or fewer") {
		t.Errorf("501 characters: %d %s", a.status, a.body)
	}
	if a := w.ask(w.Service, "ada", "POST", path, form(500)); a.status != http.StatusSeeOther {
		t.Errorf("500 characters: %d %s", a.status, a.body)
	}
	if r := w.log.of(audit.KindBreakGlassStart); len(r) != 1 || !slices.Contains(r[0].Detail, "note="+strings.Repeat("ж", 498)+" ж") {
		t.Errorf("recorded %+v", r)
	}
}

// Without an NHS number and an authority that others share, what is given counts in one
// application: the page and the record say so, also of a purpose that is stated.
func TestWhereItCounts(t *testing.T) {
	const here = "It counts in this application only"
	for _, row := range []struct {
		app, nhs, counts string
		here             bool
	}{
		{"wardbook", "", "counts_in=application:wardbook", true},
		{"wardbook", "9990000018", "counts_in=nhs-number application:wardbook", false},
		{"epr", "", "counts_in=authority:MGH application:epr", false},
	} {
		w := newWard(t)
		r := w.refused("ada", "4711")
		r.App, r.Patient.NHSNumber = row.app, row.nhs
		path := w.Offer(t.Context(), r)
		purpose := r
		purpose.Offer = policy.Purpose
		for _, at := range []string{path, w.Offer(t.Context(), purpose)} {
			if page, err := w.Page(t.Context(), at); err != nil || strings.Contains(string(page), here) != row.here {
				t.Errorf("%+v: %v, the page says so: %t", row, err, strings.Contains(string(page), here))
			}
		}
		w.ask(w.Service, "ada", "POST", path, emergency())
		if d := w.log.of(audit.KindBreakGlassStart); len(d) != 1 || !slices.Contains(d[0].Detail, row.counts) {
			t.Errorf("%+v: recorded %+v", row, d)
		}
	}
}
