package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Each request of a batch is an exchange of its own within that of the batch: it is
// decided, recorded, weighed and answered like one that came alone, under a
// reference of its own. Only the way to the application and back is shared.

// open makes the exchanges of the entries of a batch.
func (x *exchange) open() error {
	patients := 0
	for i := range x.access.Entries {
		e := &x.access.Entries[i]
		target, query, _ := strings.Cut(e.Address, "?")
		target = strings.TrimSuffix(x.target, "/") + target
		patients += len(e.Access.Patients)
		switch {
		case len(target) > audit.MaxTarget || len(query) > audit.MaxQuery:
			return errAddressTooLong
		case patients > maxPatientsAsked:
			return errTooManyPatients
		}
		if err := recordable(&e.Access); err != nil {
			return err
		}
		r := *x.r
		r.Method = e.Method
		one := &exchange{
			g: x.g, route: x.route, w: x.w, r: &r, start: x.start, ip: x.ip, scheme: x.scheme,
			target: target, query: query, subject: x.subject, access: e.Access, mode: x.mode,
		}
		one.mint(x.start)
		one.access.Detail = append(slices.Clip(one.access.Detail), "batch="+x.id, "entry="+strconv.Itoa(i+1))
		x.entries = append(x.entries, one)
	}
	return nil
}

// decideEntries decides about each entry. The batch itself is refused when every
// entry is: then nothing is forwarded.
func (x *exchange) decideEntries() {
	for i, e := range x.entries {
		if e.refused != nil { // by a limit
			continue
		}
		e.refused = e.decide()
		x.deciding += e.deciding
		switch {
		case e.refused == nil:
			x.answer = policy.Decision{Effect: policy.Allow, Revision: e.answer.Revision}
		case i == 0:
			x.answer = e.answer
		}
	}
}

// recordEntries makes the decision about a batch and those about its entries durable,
// each followed by its patients. On error: nothing is forwarded (GW-12).
func (x *exchange) recordEntries() error {
	x.decision = x.newDecision()
	x.decision.Effect = x.answer.Effect.String()
	records := []*audit.Record{&x.decision}
	for _, e := range x.entries {
		e.decision = e.newDecision()
		if e.refused != nil {
			e.decision.Effect = e.answer.Effect.String()
			if len(e.decision.Reasons) == 0 { // a limit's, not the rules'
				e.decision.Reasons = []string{explain(e.refused).code}
			}
		}
		records = append(records, e.decisionRecords()...)
	}
	err := x.decidedBy(records)
	for _, e := range x.entries {
		e.receipt.Seq, e.decided = e.decision.Seq, e.decision.Seq > 0
		x.would = x.would || e.would
	}
	return err
}

// cut takes the refused entries out of the body. What is left keeps its bytes. It
// returns false when nothing is left.
func (x *exchange) cut() bool {
	entries := x.access.Entries
	x.access.Entries = nil
	var kept [][]byte
	for i, e := range x.entries {
		if e.refused == nil {
			kept = append(kept, x.whole[entries[i].From:entries[i].To])
			x.access.Entries = append(x.access.Entries, entries[i])
			e.forwarded = true
		}
	}
	if len(kept) == 0 || len(kept) == len(entries) {
		return len(kept) > 0
	}
	body := slices.Concat(x.whole[:entries[0].From], bytes.Join(kept, []byte{','}), x.whole[entries[len(entries)-1].To:])
	x.r.Body, x.r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	x.r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	dropDigests(x.r.Header)
	return true
}

// answerRefused answers a batch of which nothing was forwarded.
func (x *exchange) answerRefused() error {
	texts := make([][]byte, 0, len(x.entries))
	for _, e := range x.entries {
		text, err := e.refusedEntry()
		if err != nil {
			return errInternal
		}
		texts = append(texts, text)
	}
	x.sendBody(http.StatusOK, "application/fhir+json; charset=utf-8", slices.Concat(
		[]byte(`{"resourceType":"Bundle","type":"batch-response","entry":[`), bytes.Join(texts, []byte{','}), []byte(`]}`)))
	return nil
}

// refusedEntry is the answer to an entry that was refused (FHIR R4, 3.1.0.11.3): it
// says why and what to do, as a refusal of the same request alone does, and where to
// confirm an emergency. The record of the refusal is durable by then.
func (x *exchange) refusedEntry() ([]byte, error) {
	e := explain(x.refused)
	if !x.forwarded {
		x.offer(x.refused)
	}
	x.fail(x.refused)
	if e.is(errNotShown) {
		return json.Marshal(struct {
			Resource operationOutcome `json:"resource"`
			Response json.RawMessage  `json:"response"`
		}{x.operationOutcome(e), json.RawMessage(x.said)})
	}
	x.status = e.status
	type response struct {
		Status  string           `json:"status"`
		Outcome operationOutcome `json:"outcome"`
	}
	return json.Marshal(struct {
		Response response `json:"response"`
	}{response{strconv.Itoa(e.status) + " " + http.StatusText(e.status), x.operationOutcome(e)}})
}

// weighEntries decides and records what each entry of the answer shows, before any of
// it is released, and returns what is to change in the body.
func (x *exchange) weighEntries(b *Bundle) ([]edit, error) {
	if len(b.Entries) != len(x.access.Entries) {
		return nil, errHeldUnreadable
	}
	var records []*audit.Record
	lefts := make([][]bool, len(x.entries))
	shown := 0
	answers := make([]*Settlement, len(x.entries))
	for i, e := range x.entries {
		if e.refused != nil {
			continue
		}
		s := &b.Entries[shown]
		shown++
		e.status, e.said = s.Status, s.Response
		w := e.weigh(s.Status, s.Settlement)
		records, lefts[i], e.refused, answers[i] = append(records, w.records...), w.left, w.refusal, &s.Settlement
		x.would, x.results = x.would || e.would, x.results+e.results
	}
	if err := x.appendAll(records); err != nil {
		return nil, err
	}
	var wait time.Duration
	for i, e := range x.entries {
		if e.refused == nil {
			wait = max(wait, e.meetShown(answers[i], lefts[i]))
		}
	}
	if err := x.slow(wait, errOverBudget); err != nil {
		return nil, err
	}
	return x.entryEdits(b, lefts)
}

// entryEdits puts the answers to refused entries in their places.
func (x *exchange) entryEdits(b *Bundle, lefts [][]bool) ([]edit, error) {
	var edits []edit
	shown := 0
	for i, e := range x.entries {
		var text []byte
		if e.refused != nil {
			var err error
			if text, err = e.refusedEntry(); err != nil {
				return nil, errInternal
			}
		}
		switch {
		case e.forwarded && e.refused != nil: // what was answered is replaced
			edits = append(edits, edit{b.Entries[shown].From, b.Entries[shown].To, text})
		case e.forwarded && e.trims(b.Entries[shown].Bundle):
			edits = append(edits, b.Entries[shown].Bundle.without(lefts[i])...)
		case !e.forwarded && shown < len(b.Entries):
			at := b.Entries[shown].From
			edits = append(edits, edit{at, at, append(text, ',')})
		case !e.forwarded:
			at := b.Entries[shown-1].To
			edits = append(edits, edit{at, at, append([]byte{','}, text...)})
		}
		if e.forwarded {
			shown++
		}
	}
	return edits, nil
}

// closeEntries records what became of the entries of a batch.
func (x *exchange) closeEntries() {
	for _, e := range x.entries {
		if e.status == 0 || x.failure != nil && e.refused == nil {
			e.status, e.failure = x.status, x.failure
		}
		e.upstream = x.upstream
		e.recordOutcome()
	}
}
