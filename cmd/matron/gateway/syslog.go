package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/matron-epr/matron/audit/export/syslog"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
)

// syslogExport hands the record on to a collector. Whatever happens here, care
// does not wait for it: run never returns an error, and an export that cannot
// begin says so in the log, in /readyz and in the metrics.
type syslogExport struct {
	log      *slog.Logger
	journal  *journal.Journal
	exporter *syslog.Exporter // nil when it is off or cannot begin
	cause    error            // why it cannot begin
}

func newSyslogExport(c config.Config, j *journal.Journal, log *slog.Logger, now func() time.Time) *syslogExport {
	x := &syslogExport{log: log, journal: j}
	s := c.Export.Syslog
	if s.Address == "" {
		return x
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "" // sent as not known
	}
	x.exporter, x.cause = syslog.New(syslog.Config{
		Source: j, Peer: syslogPeer(s), CursorPath: paths{c.DataDir}.syslogCursor(), From: s.From, Log: log, Now: now, Window: s.Window,
		Encoder: syslog.EncoderConfig{Hostname: hostname, ProcID: strconv.Itoa(os.Getpid()), MaxMessage: s.MaxMessage},
	})
	return x
}

func syslogPeer(s config.Syslog) syslog.Peer {
	return syslog.Peer{
		Address: s.Address, ServerName: s.ServerName, CAFile: s.CAFile, CertificateFile: s.CertificateFile, KeyFile: s.KeyFile,
	}
}

// on reports whether messages are to be sent.
func (x *syslogExport) on() bool { return x != nil && (x.exporter != nil || x.cause != nil) }

// run sends until ctx ends.
func (x *syslogExport) run(ctx context.Context) error {
	err := x.cause
	if x.exporter != nil {
		err = x.exporter.Run(ctx)
	}
	if err != nil {
		x.log.LogAttrs(ctx, slog.LevelError, "no more audit messages are sent to syslog", slog.String("error", err.Error()))
	}
	return nil
}

// status is the exporter's, or that of one that has not begun.
func (x *syslogExport) status() syslog.Status {
	if x.exporter != nil {
		return x.exporter.Status()
	}
	n := x.journal.Committed()
	return syslog.Status{Committed: n, Lag: n, LastError: "cannot-begin"}
}

// check is its line of /readyz.
func (x *syslogExport) check() check {
	c := check{Name: "syslog (not required)"}
	st := x.status()
	switch {
	case x.cause != nil:
		c.Note = "cannot begin: see the log"
	case st.LastError != "":
		c.Note = fmt.Sprintf("%s, %d records wait", st.LastError, st.Lag)
	default:
		c.OK, c.Note = st.Connected, fmt.Sprintf("%d records wait", st.Lag)
	}
	return c
}

// health is what the pages show.
func (x *syslogExport) health() dashboards.Copy {
	if !x.on() {
		return dashboards.Copy{}
	}
	st := x.status()
	h := dashboards.Copy{Set: true, State: dashboards.StateOK, Waiting: st.Lag, Behind: st.LagAge}
	if !st.Connected || st.LastError != "" {
		h.State = dashboards.StateFailed
	}
	return h
}

// watch shows it on /metrics.
func (x *syslogExport) watch(m *metrics) {
	if !x.on() {
		return
	}
	m.watch("matron_syslog_connected", "1 while a syslog collector takes audit messages.", func() float64 { return truth(x.status().Connected) })
	m.watch("matron_syslog_lag_records", "Records that the collector has not acknowledged.", func() float64 { return float64(x.status().Lag) })
	m.watch("matron_syslog_lag_seconds", "How long the oldest of them has waited.", func() float64 { return x.status().LagAge.Seconds() })
	m.watch("matron_syslog_confirmed", "Sequence number of the last record that is not sent again.", func() float64 { return float64(x.status().Confirmed) })
}
