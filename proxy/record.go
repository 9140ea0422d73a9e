package proxy

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// record makes the decision durable, and then every further patient that the
// request names: their records refer to the decision's place. On error: nothing
// is forwarded (GW-12).
func (x *exchange) record() error {
	if len(x.entries) > 0 {
		return x.recordEntries()
	}
	x.decision = x.newDecision()
	return x.decidedBy(x.decisionRecords())
}

// decisionRecords are the decision and one record for each patient more.
func (x *exchange) decisionRecords() []*audit.Record {
	records := append(make([]*audit.Record, 0, 1+len(x.access.Patients)), &x.decision)
	for i := 1; i < len(x.access.Patients); i++ {
		records = append(records, x.patientRecord(x.access.Patients[i], x.access.Source, x.access.Certainty))
	}
	return records
}

// decidedBy appends the decision, the first of records, and notes where it
// stands. A decision that may have been persisted although its append failed
// gets an outcome all the same.
func (x *exchange) decidedBy(records []*audit.Record) error {
	x.limited = x.limits()
	receipt, err := x.append(records)
	if err != nil {
		x.decided, x.receipt.Seq = x.decision.Seq > 0, x.decision.Seq
		return err
	}
	x.decided, x.receipt = true, receipt
	x.nameAnswer()
	return nil
}

// nameAnswer puts what every answer carries on it, the reference and the receipt
// among it. The reverse proxy
// empties the header after each informational response, so that they are set
// again before the real one.
func (x *exchange) nameAnswer() {
	h := x.w.Header()
	h[requestHeader] = x.named[:]
	if x.g.strict != nil {
		h[strictHeader] = x.g.strict
	}
	if x.slowed > 0 {
		h[slowedHeader] = []string{x.slowedWords()}
	}
	if x.receipt.Source != "" { // a record is certainly durable
		h[receiptHeader] = x.receiptWords()
	}
	if until := x.openUntil(); !until.IsZero() {
		h.Set(emergencyHeader, until.UTC().Format(time.RFC3339))
	}
}

// receiptWords are what the header of the receipt says.
func (x *exchange) receiptWords() []string {
	if x.receiptOf != x.receipt.Seq {
		x.receiptOf, x.receiptText[0] = x.receipt.Seq, x.receipt.String()
	}
	return x.receiptText[:]
}

// append waits until the records are on stable storage. On error whether they
// are is unknown, and nothing that depends on them may be released (GW-12).
func (x *exchange) append(records []*audit.Record) (audit.Receipt, error) {
	began := x.g.cfg.Now()
	receipt, err := x.g.cfg.Log.Append(x.r.Context(), records...)
	x.recorded += x.g.cfg.Now().Sub(began)
	if err == nil {
		return receipt, nil
	}
	if x.r.Context().Err() != nil {
		x.fail(errClientGone)
	}
	x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "record not durable",
		slog.String("request", x.id), slog.Any("error", err))
	return audit.Receipt{}, errNotRecorded
}

// newDecision describes the exchange as far as it is known before it is
// forwarded. Identity and roles are copied: they change later.
func (x *exchange) newDecision() audit.Record {
	s, a, r := &x.subject, &x.access, x.r
	rec := audit.Record{
		Kind: audit.KindDecision, Time: stamp(x.g.cfg.Now()), Request: x.id,
		Method: r.Method, Target: x.target, Query: redact(x.query, a.Redact),
		Route: a.Rule, Action: string(a.Action), Area: string(a.Area), Screen: a.Screen,
		Resource: a.Resource, ResourceID: a.ID, ResourceVersion: a.Version, Deliberate: a.Deliberate,
		PatientSource: a.Source, Certainty: a.Certainty,
		UserIssuer: s.Issuer, UserSub: s.Sub, Person: s.Person, UserName: s.Name,
		Roles: s.Roles, Activities: s.Activities, Org: s.Organisation, RoleID: s.RoleID,
		ACR: s.ACR, AMR: s.AMR, Assurance: uint64(max(s.Assurance, 0)), AuthTime: stamp(s.AuthTime),
		Session: s.Session, Token: s.Token,
		ClientIP: x.ip, UserAgent: r.UserAgent(),
		Effect: policy.Allow.String(), Rules: x.answer.Rules, PolicyRev: x.answer.Revision,
		Mode: x.mode.String(), WouldDeny: x.would, Purpose: x.grant.Purpose, Basis: x.grant.basis(),
	}
	if x.route != nil {
		rec.App, rec.Site = x.route.Name, x.route.Site
	}
	if len(a.Patients) > 0 {
		rec.Patient, rec.NHSNumber = a.Patients[0].ID, a.Patients[0].NHSNumber
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		rec.ClientCN = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	for _, reason := range x.answer.Reasons {
		rec.Reasons = append(rec.Reasons, reason.Code)
	}
	rec.Reasons = append(rec.Reasons, x.noted...)
	rec.Detail = append(x.told(a.Patients[:min(len(a.Patients), 1)]), a.Detail...)
	for _, p := range a.Parts {
		rec.Detail = append(rec.Detail, partDetail(p))
	}
	if a.Reason != "" {
		rec.Detail = append(rec.Detail, "why="+inShort(a.Reason))
	}
	rec.Detail = append(rec.Detail, x.limits()...)
	rec.Bound()
	return rec
}

// told is what the rules were told that no other field of a record holds, so that
// the same question can be asked of other rules, and where the patient was. Whether the answer is held matters
// where the patient is not known beforehand; to say so of every access would take
// room in the index; so it would to say that a patient has no protection.
func (x *exchange) told(patients []Patient) []string {
	var list []string
	if detail := sensitivityDetail(x.sensitivity(patients)); detail != "" {
		list = append(list, detail)
	}
	if detail := careDetail(x.care(patients)); detail != "" {
		list = append(list, detail)
	}
	if ward := x.ward(patients); ward != "" {
		list = append(list, audit.DetailWard+ward)
	}
	for _, duty := range x.duties {
		list = append(list, audit.DetailObligation+duty)
	}
	if x.access.Hold && x.access.Certainty == audit.Unknown {
		list = append(list, audit.DetailHeld)
	}
	if x.subject.Machine {
		list = append(list, audit.DetailMachine)
	}
	return list
}

// ward is where the one patient of a record is.
func (x *exchange) ward(patients []Patient) string {
	if x.g.cfg.Ward == nil || x.route == nil || len(patients) != 1 {
		return ""
	}
	return x.g.cfg.Ward(x.route.Name, patients[0])
}

// careDetail writes the care relationships with a patient for the record, "" where no
// register is kept. When the register last heard anything is told to the minute, so
// that most records of a minute say the same.
func careDetail(c policy.Care) string {
	if c.Feed == policy.NoFeed {
		return ""
	}
	heard := "never"
	if !c.AsOf.IsZero() {
		heard = c.AsOf.UTC().Truncate(time.Minute).Format(time.RFC3339)
	}
	return strings.TrimSpace(audit.DetailCare + string(c.Feed) + " " + heard + " " + strings.Join(c.Kinds, ","))
}

// sensitivityDetail writes the protection of a patient for the record, "" for none.
func sensitivityDetail(s policy.Sensitivity) string {
	words := s.Classes
	if !s.Known {
		words = append([]string{audit.SensitivityUnknown}, words...)
	}
	if len(words) == 0 {
		return ""
	}
	return audit.DetailSensitivity + strings.Join(words, ",")
}

// inShort is the beginning of a text that stands in a record beside the parts of
// an exchange, for which partsReserve leaves room.
func inShort(text string) string {
	const most = 160
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

// redact takes the values of secret parameters out of a raw query.
func redact(query string, secret []string) string {
	if query == "" || len(secret) == 0 {
		return query
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		raw, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(raw); err != nil || slices.Contains(secret, name) {
			pairs[i] = raw + "=redacted"
		}
	}
	return strings.Join(pairs, "&")
}

// patientRecord names one patient more that the exchange concerns. What is long
// stands in the decision that it refers to, once, however many patients follow.
func (x *exchange) patientRecord(p Patient, source audit.PatientSource, c audit.Certainty) *audit.Record {
	rec := x.decision
	rec.Kind, rec.Decision = audit.KindPatient, x.receipt.Seq
	rec.Source, rec.Seq, rec.Nonce = "", 0, [16]byte{}
	rec.Query, rec.Detail = "", x.told([]Patient{p})
	rec.Time = stamp(x.g.cfg.Now())
	rec.Patient, rec.NHSNumber = p.ID, p.NHSNumber
	rec.PatientSource, rec.Certainty = source, c
	rec.Purpose, rec.Basis = x.grant.Purpose, x.grant.basis() // what only the answer shows may rest on something else
	if len(x.late) > 0 {
		rec.WouldDeny, rec.Reasons = true, slices.Concat(rec.Reasons, x.late)
	}
	return &rec
}

// recordRefusal makes a refusal durable before the client learns of it.
func (x *exchange) recordRefusal(e explanation) error {
	rec := x.newDecision()
	rec.Effect, rec.WouldDeny = policy.Deny.String(), false
	if e.is(errChallenged) {
		rec.Effect = policy.Challenge.String()
	}
	if len(rec.Reasons) == 0 {
		rec.Reasons = []string{e.code}
	}
	x.decision = rec
	return x.decidedBy([]*audit.Record{&x.decision})
}

// recordOutcome says what became of an exchange whose decision is recorded. A
// decision without an outcome means that the outcome is unknown; it is never
// made up later.
func (x *exchange) recordOutcome() {
	if !x.decided {
		return
	}
	now := x.g.cfg.Now()
	rec := &x.outcomeRec
	*rec = audit.Record{
		Site: x.decision.Site, Kind: audit.KindOutcome, Time: stamp(now), Request: x.id, Decision: x.receipt.Seq,
		App: x.decision.App, Route: x.decision.Route, Mode: x.decision.Mode,
		Patient: x.decision.Patient, // brings both records together in the index, which is sorted by patient
		Person:  x.decision.Person,  // and found together by it
		Outcome: x.outcome(), Status: count(int64(x.status)), Results: x.results,
		BytesIn: count(x.bytesIn()), BytesOut: count(x.bytesOut), Duration: micros(now.Sub(x.start)), Upstream: micros(x.upstream),
	}
	if x.ending != nil {
		rec.PolicyRev = x.ending.Revision
		for _, reason := range x.ending.Reasons {
			rec.Reasons = append(rec.Reasons, reason.Code)
		}
	}
	if x.failure != nil {
		rec.Error = explain(x.failure).code
	}
	if x.left != "" {
		rec.Detail = append(rec.Detail, x.left)
	}
	if limits := x.limits(); !slices.Equal(limits, x.limited) { // the decision does not know of them
		rec.Detail = append(rec.Detail, limits...)
	}
	if x.doubt != "" {
		rec.Detail = append(rec.Detail, "why="+inShort(x.doubt))
	}
	if x.forwarded && x.route.Upstream != nil {
		rec.UpstreamTo = x.route.Upstream.Host
	}
	if err := x.g.cfg.Log.Add(rec); err != nil {
		x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "outcome not recorded",
			slog.String("request", x.id), slog.Any("error", err))
	}
}

// recordMalformed records a request that net/http refused before it became one,
// of which only the connection and the answer are known.
func (g *Gateway) recordMalformed(c net.Conn, status int) {
	now := g.cfg.Now()
	x := &exchange{g: g, w: nowhere{}, r: &http.Request{}, start: now, status: status}
	x.mint(now)
	x.ip, _, _ = net.SplitHostPort(c.RemoteAddr().String())
	cause := errMalformed
	if status == http.StatusRequestHeaderFieldsTooLarge {
		cause = errHeaderTooLarge
	}
	x.fail(cause)
	// The client's answer is net/http's in any case: it holds nothing of ours.
	if _, ok := g.cfg.Limiter.Take(policy.Subject{Sub: x.ip}, Anonymous, 1); ok {
		_ = x.recordRefusal(explain(cause))
		x.recordOutcome()
	} else {
		_ = x.recordLimit(cause)
	}
	x.observe()
}

// nowhere is the http.ResponseWriter of an exchange without one.
type nowhere struct{}

// Header is part of http.ResponseWriter.
func (nowhere) Header() http.Header { return http.Header{} }

// Write is part of http.ResponseWriter.
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader is part of http.ResponseWriter.
func (nowhere) WriteHeader(int) {}

// outcome grades the exchange for the record.
func (x *exchange) outcome() audit.Outcome {
	switch {
	case x.failure != nil && explain(x.failure).is(errInternal):
		return audit.MajorFailure
	case explain(x.failure).is(errNotShown):
		return audit.Success // of what was asked for; the record of the patient says what was not shown
	case x.ended:
		return audit.MinorFailure // the gateway ended what went well
	case x.status >= 500, x.failure != nil && x.forwarded:
		return audit.SeriousFailure
	case x.status >= 400, x.failure != nil:
		return audit.MinorFailure
	}
	return audit.Success
}

// observe tells the metrics.
func (x *exchange) observe() {
	if x.g.cfg.Observe == nil {
		return
	}
	e := Event{
		Mode: x.mode, Action: string(x.access.Action), Effect: x.decision.Effect, Kind: x.kind(),
		Status: x.status, WouldDeny: x.would, Slowed: x.slowed, Deciding: x.deciding, Recording: x.recorded,
		Budget: x.budget, BudgetTold: x.toldOver,
		Upstream: x.upstream, Whole: x.g.cfg.Now().Sub(x.start), BytesIn: x.bytesIn(), BytesOut: x.bytesOut,
	}
	if x.route != nil {
		e.App = x.route.Name
	}
	if x.failure != nil {
		e.Code = explain(x.failure).code
	}
	x.g.cfg.Observe(e)
}

// stamp brings a time into the form of records.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

func micros(d time.Duration) uint64 { return count(d.Microseconds()) }

// count brings a number that is never negative into the form of records.
func count(n int64) uint64 {
	if n < 0 {
		return 0
	}
	return uint64(n)
}

// mint gives the exchange its id.
func (x *exchange) mint(now time.Time) {
	x.id = newID(now)
	x.named[0] = x.id
}

// newID mints the id of an exchange: a UUID version 7 (RFC 9562), ordered by
// time and not guessable.
func newID(now time.Time) string {
	var id [16]byte
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand ends the program instead
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], count(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
