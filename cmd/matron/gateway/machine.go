package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/proxy"
)

// openMachine begins to watch the journal's disk and the clock.
func (g *Gateway) openMachine(context.Context) error {
	g.disk = host.NewDisk(host.DiskConfig{
		Dir: paths{g.cfg.DataDir}.journal(), Watermarks: [3]int(g.cfg.Journal.Watermarks), Emergency: func() bool { return g.journal.Stats().Emergency },
		Measure: host.Measure, Log: g.log, Now: g.now,
	})
	g.clock = host.NewClock(host.ClockConfig{Read: host.NewReader(g.now), Stepped: g.clockStepped})
	return nil
}

// shortage is what the proxy must refuse for want of room.
func (g *Gateway) shortage() proxy.Shortage {
	switch g.disk.Level() {
	case host.Ample:
		return proxy.NoShortage
	case host.NoBulk:
		return proxy.ShortForBulk
	case host.NoSearch:
		return proxy.ShortForSearch
	case host.CareOnly:
	}
	return proxy.ShortForAll
}

// clockStepped records that the clock was put forward or back. Records keep
// their order whatever it does; this one tells whoever compares times later
// where they changed (GW-14).
func (g *Gateway) clockStepped(ctx context.Context, s host.Step) {
	g.log.LogAttrs(ctx, slog.LevelWarn, "clock stepped", slog.Duration("by", s.By()),
		slog.Duration("offset_before", s.Before), slog.Duration("offset_after", s.After))
	err := g.journal.Add(&audit.Record{Time: s.At.UTC().Truncate(time.Microsecond), Kind: audit.KindClock, Detail: []string{
		"offset_before=" + s.Before.String(), "offset_after=" + s.After.String(), "step=" + s.By().String(),
	}})
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "clock step not recorded", slog.String("error", err.Error()))
	}
}

// machineHealth adds to a page's health what the machine says, and those who hold
// copies of the record.
func (g *Gateway) machineHealth(h *dashboards.Health) {
	d := g.disk.State()
	h.Disk = dashboards.Disk{
		Used: d.Used, Free: d.Free, ReadOnly: d.Known && d.ReadOnly, Emergency: d.Emergency, Level: int(d.Level), Since: d.Since,
	}
	if d.Known {
		h.Disk.State = dashboards.StateOK
	}
	step := g.clock.Last()
	h.ClockAt, h.ClockBy = step.At, step.By()
	if stats := g.journal.Stats(); stats.Second {
		h.SecondSink = stats.Place
	}
	h.Witness = g.cosigning.health()
	h.LogServer = g.syslog.health()
	h.Care = g.care.health()
}

// clockNotice is for how long /readyz mentions a step.
const clockNotice = 24 * time.Hour

// machineChecks are lines of /readyz that tell and do not decide.
func (g *Gateway) machineChecks() []check {
	var h dashboards.Health
	g.machineHealth(&h)
	checks := []check{
		diskCheck(g.disk.State()), clockCheck(g.clock.Last(), g.now()), copyCheck("witness (not required)", h.Witness),
	}
	if g.syslog.on() {
		checks = append(checks, g.syslog.check())
	}
	return checks
}

func diskCheck(d host.DiskState) check {
	c := check{Name: "disk (not required)", OK: d.Known && d.Level == host.Ample && !d.ReadOnly}
	c.Note = fmt.Sprintf("%.0f%% used, level %s", 100*d.Used, d.Level)
	switch {
	case !d.Known:
		c.Note = "cannot be measured, level " + d.Level.String()
	case d.ReadOnly:
		c.Note += ", read-only"
	case d.Emergency:
		c.Note += ", records go to the emergency segment"
	}
	return c
}

func clockCheck(s host.Step, now time.Time) check {
	c := check{Name: "clock (not required)", OK: s.At.IsZero() || now.Sub(s.At) >= clockNotice}
	if !s.At.IsZero() {
		c.Note = fmt.Sprintf("stepped by %s at %s", s.By(), s.At.UTC().Format(time.RFC3339))
	}
	return c
}

func copyCheck(name string, c dashboards.Copy) check {
	if !c.Set {
		return check{Name: name, OK: true, Note: "not set up"}
	}
	return check{Name: name, OK: c.State == dashboards.StateOK, Note: fmt.Sprintf("%d wait, %s behind", c.Waiting, c.Behind.Round(time.Second))}
}

// watchMachine shows disk and clock on /metrics.
func (g *Gateway) watchMachine() {
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"matron_journal_disk_used_ratio", "How full the file system of the journal is, 0 to 1, of bytes or files.", func() float64 { return g.disk.State().Used }},
		{"matron_journal_disk_free_bytes", "Bytes that the gateway can still write there.", func() float64 { return float64(g.disk.State().Free) }},
		{"matron_journal_disk_level", "What is refused for want of room: 0 nothing, 1 bulk work, 2 other searches too, 3 everything but care.", func() float64 { return float64(g.disk.Level()) }},
		{"matron_journal_disk_measured", "1 while the file system of the journal can be measured.", func() float64 { return truth(g.disk.State().Known) }},
		{"matron_journal_disk_read_only", "1 while the file system of the journal is read-only.", func() float64 { return truth(g.disk.State().ReadOnly) }},
		{"matron_clock_step_seconds", "By how much the wall clock last stepped, 0 if it has not since the start.", func() float64 { return g.clock.Last().By().Seconds() }},
		{"matron_clock_steps_total", "Steps of the wall clock of 2 seconds or more since the start.", func() float64 { return float64(g.clock.Steps()) }},
	} {
		g.metrics.watch(m.name, m.help, m.value)
	}
}
