package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// neverFull is how many days are said where a disk does not grow.
const neverFull = 3650

type reading func(context.Context, evidence.Definition) (evidence.Measurement, error)

// readings are what indicators read of the gateway itself, by their names.
func (m *indicators) readings() map[string]reading {
	return map[string]reading{
		"certificate-days":     m.certificateDays,
		"break-glass-reviewed": m.reviewedInTime,
		"break-glass-upheld":   m.upheld,
		"days-to-full":         m.daysToFull,
		"reserve-used":         m.reserveUsed,
		"not-recorded":         m.notRecordedSince,
		"verification-hours":   m.verificationHours,
		"index-gaps":           m.indexGaps,
		"clock-error":          m.clockError,
		"feed-silence":         m.feedSilence,
	}
}

func valued(v float64, sample int) evidence.Measurement {
	return evidence.Measurement{Value: &v, Sample: sample}
}

func unknown(why string) evidence.Measurement { return evidence.Measurement{Why: why} }

func (m *indicators) certificateDays(context.Context, evidence.Definition) (evidence.Measurement, error) {
	get := m.g.certs.TLSConfig().GetCertificate
	shown, err := get(&tls.ClientHelloInfo{ServerName: mustParse(m.g.cfg.ExternalURL).Hostname()})
	if err != nil {
		return evidence.Measurement{}, err
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		return evidence.Measurement{}, err
	}
	return valued(leaf.NotAfter.Sub(m.g.now()).Hours()/24, 1), nil
}

// emergencies are those of people that began within what a window and the time for
// review reach back.
func (m *indicators) emergencies(ctx context.Context, d evidence.Definition) ([]breakglass.Grant, error) {
	const longestReview = 60 * 24 * time.Hour // 30 working days and what lies between
	found, err := m.g.emergency.Since(ctx, m.g.now().Add(-d.Window()-longestReview))
	var list []breakglass.Grant
	for _, grant := range found {
		if grant.Issuer != policy.ProbeIssuer {
			list = append(list, grant)
		}
	}
	return list, err
}

func (m *indicators) reviewedInTime(ctx context.Context, d evidence.Definition) (evidence.Measurement, error) {
	list, err := m.emergencies(ctx, d)
	if err != nil {
		return evidence.Measurement{}, err
	}
	due, inTime := 0, 0
	for _, grant := range list {
		until := workingDays(grant.Began, m.g.cfg.BreakGlass.ReviewDays, m.g.detection.location)
		if until.After(m.g.now()) || until.Before(m.g.now().Add(-d.Window())) {
			continue
		}
		due++
		if by(grant.Judged, until) && grant.Verdict != breakglass.NeedsTalk || by(grant.Explained, until) {
			inTime++
		}
	}
	if due == 0 {
		return evidence.Measurement{}, nil
	}
	return valued(100*float64(inTime)/float64(due), due), nil
}

// by reports whether something was done by a time.
func by(done, until time.Time) bool { return !done.IsZero() && !done.After(until) }

func (m *indicators) upheld(ctx context.Context, d evidence.Definition) (evidence.Measurement, error) {
	list, err := m.emergencies(ctx, d)
	if err != nil {
		return evidence.Measurement{}, err
	}
	judged, misused := 0, 0
	for _, grant := range list {
		if grant.Judged.Before(m.g.now().Add(-d.Window())) || grant.Verdict != breakglass.Justified && grant.Verdict != breakglass.NotJustified {
			continue
		}
		judged++
		if grant.Verdict == breakglass.NotJustified {
			misused++
		}
	}
	if judged == 0 {
		return evidence.Measurement{}, nil
	}
	return valued(100*float64(misused)/float64(judged), judged), nil
}

// within are the looks of a window.
func (m *indicators) within(d evidence.Definition) []look {
	var list []look
	for _, l := range m.kept.Looks {
		if m.g.now().Sub(l.At) <= d.Window() {
			list = append(list, l)
		}
	}
	return list
}

func (m *indicators) daysToFull(_ context.Context, d evidence.Definition) (evidence.Measurement, error) {
	days, n := fullIn(m.within(d))
	if n < 2 {
		return unknown("The growth of the disk is not known yet."), nil
	}
	return valued(days, n), nil
}

// fullIn is in how many days a disk is full by the line of least squares through
// looks at it, and how many there were.
func fullIn(looks []look) (days float64, n int) {
	var sx, sy, sxx, sxy, count, last float64
	for _, l := range looks {
		if !l.DiskKnown {
			continue
		}
		x := l.At.Sub(looks[0].At).Hours() / 24
		sx, sy, sxx, sxy, count, last = sx+x, sy+l.DiskUsed, sxx+x*x, sxy+x*l.DiskUsed, count+1, l.DiskUsed
	}
	spread := count*sxx - sx*sx
	if count < 2 || spread <= 0 {
		return 0, int(count)
	}
	if slope := (count*sxy - sx*sy) / spread; slope > 0 {
		return min(neverFull, max(0, 1-last)/slope), int(count)
	}
	return neverFull, int(count)
}

func (m *indicators) reserveUsed(_ context.Context, d evidence.Definition) (evidence.Measurement, error) {
	used, looks := 0.0, m.within(d)
	for _, l := range looks {
		used += truth(l.Reserve)
	}
	return valued(used, len(looks)), nil
}

func (m *indicators) notRecordedSince(_ context.Context, d evidence.Definition) (evidence.Measurement, error) {
	var refused, all float64
	for _, l := range m.within(d) {
		refused, all = refused+l.NotRecorded, all+l.Exchanges
	}
	return valued(refused, int(all)), nil
}

func (m *indicators) verificationHours(context.Context, evidence.Definition) (evidence.Measurement, error) {
	at := m.g.office.status().LastReconcile
	if at.IsZero() {
		return unknown("The rows have not been counted since the gateway started."), nil
	}
	return valued(m.g.now().Sub(at).Hours(), 1), nil
}

func (m *indicators) indexGaps(_ context.Context, d evidence.Definition) (evidence.Measurement, error) {
	faults, n := 0.0, 0
	for _, l := range m.within(d) {
		if l.Compared {
			faults, n = faults+l.RowFaults, n+1
		}
	}
	if n == 0 {
		return unknown("The rows have not been counted since the gateway started."), nil
	}
	return valued(faults, n), nil
}

func (m *indicators) clockError(context.Context, evidence.Definition) (evidence.Measurement, error) {
	bound, known, err := host.ClockError()
	switch {
	case err != nil:
		return evidence.Measurement{}, err
	case !known:
		return unknown("No time service keeps this machine's clock, as far as its kernel knows."), nil
	}
	return valued(bound.Seconds(), 1), nil
}

func (m *indicators) feedSilence(context.Context, evidence.Definition) (evidence.Measurement, error) {
	if m.g.care == nil {
		return unknown("No feed of care relationships is connected."), nil
	}
	over, n := m.g.care.overSilent(m.g.now())
	if n == 0 {
		return unknown("No feed has a limit for its silence."), nil
	}
	return valued(over.Minutes(), n), nil
}

// overSilent is by how much the most silent source is over its limit, and how many
// have one. A source that was never heard of is over its limit since the start.
func (s *careService) overSilent(now time.Time) (over time.Duration, limited int) {
	all := s.limited()
	for _, f := range all {
		if f.last.IsZero() {
			over = max(over, f.limit)
			continue
		}
		over = max(over, now.Sub(f.last)-f.limit)
	}
	return over, len(all)
}
