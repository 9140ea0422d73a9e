package breakglass_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// A database that hangs holds nobody up: what waits for it goes on without.
// hazard:GW-01 control:C-02
func TestDatabaseThatHangsIsNotInTheWay(t *testing.T) {
	w := newWard(t)
	w.db.SetMaxOpenConns(1)
	held, err := w.db.Conn(t.Context()) // whoever asks waits for it
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		who := w.refused("ada", "4711").Subject
		if w.Renew(t.Context(), who) {
			t.Error("a grant of nowhere")
		}
		path := w.Offer(t.Context(), w.refused("ada", "4711"))
		if a := w.ask(w.Service, "ada", "POST", path, emergency()); a.status != http.StatusSeeOther || !w.in(w.Service) {
			t.Errorf("got %d %s", a.status, a.body)
		}
		if a := w.ask(w.Service, "ada", "GET", breakglass.Path, nil); !strings.Contains(a.body, "cannot be read just now") {
			t.Errorf("list: got %d %s", a.status, a.body)
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("still waiting")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	turn(t, w.Service)
	if found, err := w.Of(t.Context(), w.refused("ada", "").Subject, 10); err != nil || len(found) != 1 {
		t.Errorf("%v %+v", err, found)
	}
}

// A write that was made and reported as failed is made once, and what is owed after it
// is not kept waiting.
func TestWriteReportedAsFailedIsMadeOnce(t *testing.T) {
	w := newWard(t)
	if _, err := w.db.ExecContext(t.Context(), `ALTER TABLE breakglass_grant RENAME TO gone`); err != nil {
		t.Fatal(err)
	}
	w.breaks("ada", "4711")
	for _, statement := range []string{
		`ALTER TABLE gone RENAME TO breakglass_grant`,
		`INSERT INTO breakglass_grant (id, kind, offer, issuer, sub, session, site, app, patient, nhs_number, purpose, began, until, ended, cause, facts)
VALUES ('` + w.Granted(w.refused("ada", "").Subject, "RBA", "epr", onePatient()).ID + `', 'break-glass', 'o', 'https://id.example', 'ada', 'session-of-ada', 'RBA', 'epr', '4711', '', 'BTG', 1, 1, 0, '', '{}')`,
	} {
		if _, err := w.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	w.SessionEnded("session-of-ada")
	turn(t, w.Service)
	found, err := w.Of(t.Context(), w.refused("ada", "").Subject, 10)
	if err != nil || len(found) != 1 || found[0].Cause != breakglass.BySession || len(w.log.of(audit.KindBreakGlassEnd)) != 1 {
		t.Errorf("%v %+v, %d ends", err, found, len(w.log.of(audit.KindBreakGlassEnd)))
	}
}

// An end that the database has and the journal has not yet is recorded when it can be.
func TestEndIsRecordedOnceTheJournalTakesIt(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	w.log.fail(lost)
	w.SessionEnded("session-of-ada")
	if w.in(w.Service) {
		t.Error("it goes on")
	}
	w.log.fail(noFault)
	turn(t, w.Service)
	if ends := w.log.of(audit.KindBreakGlassEnd); len(ends) != 1 {
		t.Errorf("%d ends", len(ends))
	}
}

// What somebody writes is one line of text for whoever reads it.
func TestNoteCannotMisleadItsReader(t *testing.T) {
	w := newWard(t)
	path := w.Offer(t.Context(), w.refused("ada", "4711"))
	form := url.Values{"reason": {"other"}, "note": {"a\u202eb\u2028c\u2066<script>\r\nreason=law\x00"}}
	if a := w.ask(w.Service, "ada", "POST", path, form); a.status != http.StatusSeeOther {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	const want = "note=a b c <script> reason=law"
	if d := w.log.of(audit.KindBreakGlassStart)[0].Detail; d[3] != want {
		t.Errorf("got %q", d)
	}
	if a := w.ask(w.Service, "ada", "GET", breakglass.Path, nil); strings.Contains(a.body, "<script>") || !strings.Contains(a.body, "&lt;script&gt;") {
		t.Errorf("got %s", a.body)
	}
}
