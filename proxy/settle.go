package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/matron-epr/matron/audit"
)

// settle holds a response back until every patient it names is recorded. On any
// error nothing of it is released (GW-08, GW-12).
func (x *exchange) settle(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusSwitchingProtocols:
		return errHeldUnreadable
	case http.StatusPartialContent: // the rest may name somebody else
		x.doubt = "a part of the answer came, although the whole was asked for"
		return errHeldUnreadable
	}
	body, err := x.hold(res)
	if err != nil {
		return err
	}
	s, err := x.reader().Settle(x.access, res, body)
	if err != nil {
		x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelWarn, "held response not understood",
			slog.String("request", x.id), slog.String("app", x.route.Name), slog.String("rule", x.access.Rule))
		for _, known := range [...]error{ErrApplicationFault, ErrSpool} {
			if errors.Is(err, known) {
				return known
			}
		}
		return errHeldUnreadable
	}
	s.Bare = s.Bare || body.Len() == 0
	switch {
	case len(s.Patients) > maxPatientsShown:
		return errHeldTooLarge
	case !nameable(s.Patients):
		return errHeldUnreadable
	}
	edits, err := x.judge(res, s)
	if err != nil || bodiless(res.StatusCode) {
		return err
	}
	more, err := x.relinked(s.Links)
	if err != nil {
		return err
	}
	return x.release(res, body, inOrder(append(edits, more...)))
}

// judge decides about what an answer shows and makes it durable. It returns what is
// to change in the body of what may be released.
func (x *exchange) judge(res *http.Response, s Settlement) ([]edit, error) {
	x.doubt = s.Reason
	if len(x.entries) > 0 && res.StatusCode < http.StatusBadRequest && s.Bundle != nil {
		return x.weighEntries(s.Bundle)
	}
	w := x.weigh(res.StatusCode, s)
	if err := x.appendAll(w.records); err != nil {
		return nil, err
	}
	if w.refusal != nil {
		x.keepNames(res.Header)
		return nil, w.refusal
	}
	x.nameAnswer() // emergency access may let in whom only the answer names
	if err := x.slow(x.meetShown(&s, w.left), errOverBudget); err != nil || !x.trims(s.Bundle) {
		return nil, err
	}
	untold(res.Header)
	return s.Bundle.without(w.left), nil
}

// appendAll makes records durable, if there are any.
func (x *exchange) appendAll(records []*audit.Record) error {
	if len(records) == 0 {
		return nil
	}
	_, err := x.append(records)
	return err
}

// release puts what was held in the place of the response's body.
func (x *exchange) release(res *http.Response, body Body, edits []edit) error {
	out, size, err := body.edited(edits)
	if err != nil {
		return err
	}
	res.ContentLength, res.TransferEncoding, res.Trailer = size, nil, nil
	res.Header.Set("Content-Length", strconv.FormatInt(size, 10))
	if x.r.Method == http.MethodHead {
		out = http.NoBody
	}
	res.Body = io.NopCloser(released{out, x})
	return nil
}

// bodiless reports whether a response of this status is its header alone. The
// header may name a patient all the same, as the Location of something new does.
func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// asked is the request as the application gets it. The header of a response that
// must be read tells something of it, its length at least: such a HEAD is asked
// as a GET, whose body is read and not sent on (GW-08).
func (x *exchange) asked(r *http.Request) *http.Request {
	if !x.access.Hold || r.Method != http.MethodHead {
		return r
	}
	whole := *r
	whole.Method = http.MethodGet
	return &whole
}

// anonymous reports whether a response may hold data of a patient whom nobody
// can name. On doubt it is not released: a record that names nobody is none
// (GW-08). In observe and bypass mode it goes on, recorded as unknown.
func anonymous(status int, a Access, s Settlement) bool {
	switch {
	case bodiless(status):
		return false
	case s.Stranger:
		return true
	case status >= 300, len(a.Patients) > 0, s.Certainty == audit.None:
		return false
	}
	return len(s.Patients) == 0 && s.Certainty != audit.Authoritative || s.Certainty == audit.Unknown || s.Certainty == ""
}

// shown are the records of every patient whom the response names and the decision
// does not. A response whose patients nobody can tell is recorded as such.
func (x *exchange) shown(s Settlement) []*audit.Record {
	known := make(map[Patient]bool, len(x.access.Patients)+len(s.Patients))
	for _, p := range x.access.Patients {
		known[p] = true
	}
	var records []*audit.Record
	for _, p := range s.Patients {
		if !known[p] {
			known[p] = true
			records = append(records, x.patientRecord(p, audit.SourceResponse, s.Certainty))
		}
	}
	if len(s.Patients) == 0 && s.Certainty != audit.None && s.Certainty != audit.Authoritative {
		records = append(records, x.patientRecord(Patient{}, audit.SourceResponse, audit.Unknown))
	}
	if len(records) == 0 && len(x.late) > 0 { // of the patient whom the decision names
		p := Patient{ID: x.decision.Patient, NHSNumber: x.decision.NHSNumber}
		records = append(records, x.patientRecord(p, audit.SourceResponse, s.Certainty))
	}
	return records
}

// waive notes a refusal that only the response gave rise to and that goes on, since
// it is not enforced.
func (x *exchange) waive(code string) {
	x.would, x.late = true, append(x.late, code)
}

// captured is the response of an in-process application that is held back.
type captured struct {
	header http.Header
	status int
	body   bytes.Buffer
	limit  int64
	over   bool
}

// Header is part of http.ResponseWriter.
func (c *captured) Header() http.Header { return c.header }

// WriteHeader is part of http.ResponseWriter.
func (c *captured) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
}

// Write is part of http.ResponseWriter.
func (c *captured) Write(b []byte) (int, error) {
	if int64(c.body.Len()+len(b)) > c.limit {
		c.over = true
		return 0, errHeldTooLarge
	}
	return c.body.Write(b)
}

// capture runs an in-process application, holds its response and settles it.
func (x *exchange) capture(h http.Handler, req *http.Request) {
	c := &captured{header: x.w.Header().Clone(), limit: x.route.MaxHeld}
	h.ServeHTTP(c, req)
	if c.status == 0 {
		c.status = http.StatusOK
	}
	res := &http.Response{
		StatusCode: c.status, Header: c.header, Request: req,
		ContentLength: int64(c.body.Len()), Body: io.NopCloser(&c.body),
	}
	err := error(errHeldTooLarge)
	if !c.over {
		err = x.settle(res)
	}
	if err != nil {
		x.refuse(err)
		return
	}
	header := x.w.Header()
	clear(header)
	for name, values := range res.Header {
		header[name] = values
	}
	x.WriteHeader(res.StatusCode)
	_, _ = io.Copy(x, res.Body) // Write notes what goes wrong
}
