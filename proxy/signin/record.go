package signin

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// record begins a record of kind. The query is left out: on the callback it
// holds the code.
func (s *Service) record(r *http.Request, kind audit.Kind) *audit.Record {
	rec := &audit.Record{
		Site: s.cfg.Site, Kind: kind, Time: s.cfg.Now().UTC().Truncate(time.Microsecond),
		Request: rand.Text(), Action: string(kind), Certainty: audit.None, PatientSource: audit.SourceNone,
	}
	if r != nil {
		rec.Method, rec.Target = r.Method, shorten(r.URL.Path)
		rec.ClientIP, rec.UserAgent = s.cfg.ClientIP(r), shorten(r.UserAgent())
	}
	return rec
}

// describe copies who the subject is into the record.
func describe(rec *audit.Record, who policy.Subject) {
	rec.UserIssuer, rec.UserSub = who.Issuer, who.Sub
	rec.Person, rec.UserName = who.Person, who.Name
	rec.Roles, rec.Activities = who.Roles, who.Activities
	rec.Org, rec.RoleID = who.Organisation, who.RoleID
	rec.ACR, rec.AMR = who.ACR, who.AMR
	if who.Assurance > 0 {
		rec.Assurance = uint64(who.Assurance)
	}
	rec.AuthTime = who.AuthTime
	rec.Session, rec.Token = who.Session, who.Token
	rec.Bound() // roles come from the provider, as many as it likes
}

// refuse answers an attempt that did not end in a session, and records it. The
// reference on the page is the record's request id.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error, who identity) {
	f := refusalOf(err)
	rec := s.record(r, audit.KindSignIn)
	describe(rec, who.subject)
	rec.Outcome, rec.Error, rec.Status = audit.MinorFailure, f.code, uint64(f.status) //nolint:gosec // an HTTP status is positive
	if f.status >= http.StatusInternalServerError {
		rec.Outcome = audit.SeriousFailure
	}
	s.add(r.Context(), rec)
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "sign-in refused",
		slog.String("code", f.code), slog.String("reference", rec.Request), slog.String("error", shorten(err.Error())))
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	s.show(w, r, f.status, page{Title: f.title, Text: f.text, Reference: rec.Request, SignIn: f.signIn})
}

// recordEnds records sessions that are over already. r is nil when no request
// ended them.
func (s *Service) recordEnds(ctx context.Context, r *http.Request, cause string, rows []row) {
	for _, ended := range rows {
		rec := s.record(r, audit.KindSignOut)
		describe(rec, ended.subject)
		rec.Outcome, rec.Detail = audit.Success, []string{"cause=" + cause}
		s.add(ctx, rec)
	}
}

// add puts a record into the next group commit. On error: go on. Nothing is
// released by a refusal or a sign-out, and neither may fail because it could
// not be written down (GW-07); the log says so itself.
func (s *Service) add(ctx context.Context, rec *audit.Record) {
	if err := s.cfg.Log.Add(rec); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "record not taken", slog.String("kind", string(rec.Kind)), slog.Any("error", err))
	}
}
