package gateway

// watch shows on /metrics what the parts know of themselves.
func (g *Gateway) watch() {
	g.metrics.reloaded(g.started)
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"matron_journal_committed", "Sequence number of the last durable record.", func() float64 { return float64(g.journal.Stats().Committed) }},
		{"matron_journal_pending", "Records that wait for a group commit.", func() float64 { return float64(g.journal.Stats().Pending) }},
		{"matron_journal_last_sync_seconds", "How long the last group commit took.", func() float64 { return g.journal.Stats().LastSync.Seconds() }},
		{"matron_journal_healthy", "1 while records can be made durable.", func() float64 { return truth(g.journal.Healthy() == nil) }},
		{"matron_index_healthy", "1 while records become searchable.", func() float64 { return truth(g.office.ready()) }},
		{"matron_index_lag_records", "Records in the journal that are not searchable yet.", func() float64 { return float64(g.office.status().Lag) }},
		{"matron_index_lag_seconds", "How long the oldest of them has waited.", func() float64 { return g.office.status().LagAge.Seconds() }},
		{"matron_index_missing_total", "Rows that were found missing and inserted again.", func() float64 { return float64(g.office.status().Missing) }},
		{"matron_index_beyond_journal", "Highest row above the end of the journal; 0 when there is none.", func() float64 { return float64(g.office.status().Beyond) }},
		{"matron_index_duplicates", "Rows found more than once by the latest reconciliation.", func() float64 { return float64(g.office.status().Duplicates) }},
	} {
		g.metrics.watch(m.name, m.help, m.value)
	}
	g.syslog.watch(g.metrics)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
