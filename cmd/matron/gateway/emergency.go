package gateway

import (
	"context"
	"slices"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// openEmergency makes what grants emergency access. It needs the database, the journal
// and who is signed in, and nothing else (GW-10).
func (g *Gateway) openEmergency(ctx context.Context) error {
	b := g.cfg.BreakGlass
	var err error
	if g.mailer, err = newMailer(g.cfg, g.detection.location); err != nil {
		return err
	}
	address := g.signin.Email
	if g.mailer == nil {
		address = nil
	}
	g.emergency, err = breakglass.New(ctx, breakglass.Config{
		DB: g.db, Log: g.journal, Logger: g.log, Now: g.now, Identifier: identities{g.signin}, SignInPath: signInPath,
		Lasts: b.Lasts, Reasons: reasonsOf(b.Reasons), Purposes: reasonsOf(b.Purposes), Reviewer: b.Reviewer,
		Fresh:       func(r proxy.Refused) bool { return provedAnew(b.SignInAgain, r) },
		SignInWorks: g.signin.Answers,
		Authority:   g.patientAuthority,
		Changed:     func() { g.proxy.Review() },
		Officer:     g.cfg.Notices.Officer, Address: address,
		Home: g.cfg.Home, Location: g.detection.location,
		Service: g.cfg.Branding.ServiceName, Organisation: g.cfg.Branding.Organisation,
	})
	return err
}

// provedAnew reports whether a record is of one of the classes. Where nobody knows of
// which it is, it counts as one.
func provedAnew(classes []string, r proxy.Refused) bool {
	if len(classes) == 0 {
		return false
	}
	return !r.Sensitivity.Known || slices.ContainsFunc(r.Sensitivity.Classes, func(c string) bool { return slices.Contains(classes, c) })
}

func reasonsOf(list []config.BreakGlassReason) []breakglass.Reason {
	reasons := make([]breakglass.Reason, len(list))
	for i, r := range list {
		reasons[i] = breakglass.Reason(r)
	}
	return reasons
}

// sessionEnded tells everybody of the end of a session.
func (g *Gateway) sessionEnded(session string) {
	g.emergency.SessionEnded(session)
	g.proxy.SessionEnded(session)
}

// sessionRenewed tells everybody that a session goes on in another one.
func (g *Gateway) sessionRenewed(ctx context.Context, old, fresh string) {
	g.emergency.SessionRenewed(ctx, old, fresh)
}
