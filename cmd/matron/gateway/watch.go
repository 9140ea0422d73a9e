package gateway

import "github.com/matron-epr/matron/dashboards"

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
		{"matron_checkpoint_covered", "Records that the last signed checkpoint covers.", func() float64 { return float64(g.journal.Stats().Signed) }},
		{"matron_checkpoint_healthy", "1 while checkpoints are signed.", func() float64 { return truth(g.journal.Stats().Unsigned == nil) }},
		{"matron_journal_second", "1 while records are written to a second place, since the first takes no writes.", func() float64 { return truth(g.journal.Stats().Second) }},
		{"matron_journal_emergency", "1 while records use the room that is kept for a full disk.", func() float64 { return truth(g.journal.Stats().Emergency) }},
		{"matron_journal_unwell_places", "Places that are not written to until they have proven themselves.", func() float64 { return float64(len(g.journal.Stats().Unwell)) }},
		{"matron_journal_failovers_total", "How often writing went on in another place after an error.", func() float64 { return float64(g.journal.Stats().FailOvers) }},
		{"matron_witness_covered", "Records that the last checkpoint covers which a quorum of witnesses has cosigned.", func() float64 { return float64(g.journal.Stats().Signed - g.cosigning.health().Waiting) }},
		{"matron_witness_healthy", "1 while witnesses cosign, or none is set up.", func() float64 { return truth(g.cosigning.health().State != dashboards.StateFailed) }},
		{"matron_decisions_remembered_total", "Questions that were asked again within seconds and answered from memory.", func() float64 { return float64(g.policy.Remembered()) }},
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
