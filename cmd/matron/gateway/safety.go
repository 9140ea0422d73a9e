package gateway

import (
	"context"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/policy"
)

// safety is what the pages of the hazard log need beyond the log.
func (g *Gateway) safety() dashboards.Safety {
	return dashboards.Safety{
		Change: func(ctx context.Context, log string, by hazardlog.Actor, changes ...hazardlog.Change) error {
			l, err := g.hazards.Log(ctx, log)
			if err != nil {
				return err
			}
			if err := DemandEvidence(l, by, changes, g.evidenceOf); err != nil {
				return err
			}
			_, _, err = g.hazards.Change(ctx, log, by, changes...)
			return err
		},
		Officer: g.officer, Began: g.signin.Began, SignIn: signInPath, Running: g.running, Packer: issuePacker{g},
		Evidence: g.evidence,
	}
}

// officer is the clinical safety officer that somebody is, by the configuration in
// force. Nobody is one for want of an id.
func (g *Gateway) officer(who policy.Subject) (hazardlog.Officer, bool) {
	for _, o := range g.settings.Load().HazardLog.Officers {
		if o.Person != "" && o.Person == who.Person && who.Issuer == g.cfg.SignIn.Issuer {
			return registered(o), true
		}
	}
	return hazardlog.Officer{}, false
}

// running is what runs now, as the record of its start says it.
func (g *Gateway) running() hazardlog.Baseline {
	return hazardlog.Baseline{Program: g.opts.Version, Config: *g.hash.Load(), Policy: g.policy.Revision()}
}
