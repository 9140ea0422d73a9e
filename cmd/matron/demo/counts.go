package demo

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// Counts is what one run of the demonstration did. Requests, Decisions and
// Outcomes are of this run; Records and Rows are of everything in the folder.
type Counts struct {
	Requests  uint64 `json:"requests"`  // sent by staff to applications and dashboards
	Decisions uint64 `json:"decisions"` // decision records
	Outcomes  uint64 `json:"outcomes"`  // outcome records
	Denials   uint64 `json:"denials"`   // decisions that refused
	Refused   uint64 `json:"refused"`   // answers 403 that staff got
	SignIns   uint64 `json:"sign_ins"`
	Alerts    int    `json:"alerts"`
	Records   uint64 `json:"records"` // in the journal
	Rows      uint64 `json:"rows"`    // in ClickHouse
	// Disagreements names the numbers that must agree and do not.
	Disagreements []string     `json:"disagreements"`
	Staff         staff.Counts `json:"staff"`
	Misuse        *Misuse      `json:"misuse,omitempty"` // of a day that was played
}

// String is what the terminal shows.
func (c Counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nRequests sent %d, decisions recorded %d, outcomes recorded %d, denials %d\n", c.Requests, c.Decisions, c.Outcomes, c.Denials)
	fmt.Fprintf(&b, "Records in the journal %d, rows in ClickHouse %d, sign-ins %d, alerts %d\n", c.Records, c.Rows, c.SignIns, c.Alerts)
	if m := c.Misuse; m != nil {
		fmt.Fprintf(&b, "Misuse of the day: alerts ask about %d of %d labels; unseen: %s\n", m.Asked, m.Labels, cmp.Or(strings.Join(m.Unseen, ", "), "none"))
		fmt.Fprintf(&b, "95 in 100 alerts came within %.0f seconds of the newest access in them\n", m.DelaySeconds)
	}
	for _, d := range c.Disagreements {
		fmt.Fprintf(&b, "Disagreement: %s\n", d)
	}
	return b.String()
}

// tally counts the records of a journal by kind.
type tally struct {
	kinds map[audit.Kind]uint64
	last  uint64
}

func tallyJournal(c config.Config) (tally, error) {
	report, err := journal.Verify(journal.VerifyOptions{Dirs: gateway.JournalDirs(c)})
	if err != nil {
		return tally{}, err
	}
	return tally{kinds: report.Kinds, last: report.Last}, report.Err()
}

// count waits until every record is searchable and compares what was sent with
// what was recorded.
func (w *world) count(ctx context.Context, worked staff.Counts) Counts {
	c := Counts{
		Requests: worked.Requests[staff.Application] + worked.Requests[staff.Dashboard],
		Refused:  worked.Denials, SignIns: worked.SignIns, Staff: worked, Disagreements: []string{},
	}
	failures := worked.Failures[staff.Application] + worked.Failures[staff.Dashboard]
	after, err := w.settled(ctx)
	if err != nil {
		c.Disagreements = append(c.Disagreements, err.Error())
		return c
	}
	delta := func(k audit.Kind) uint64 { return after.kinds[k] - w.before.kinds[k] }
	c.Decisions, c.Outcomes = delta(audit.KindDecision), delta(audit.KindOutcome)
	c.Records = after.last
	if c.Alerts, err = gateway.CountAlerts(ctx, w.config); err != nil {
		c.Disagreements = append(c.Disagreements, err.Error())
	}
	rows, err := w.rows(ctx, after.last)
	c.Rows, c.Denials = rows.Count, rows.Denials
	c.compare(err, failures, rows.Duplicates)
	if w.played != nil {
		if c.Misuse, err = w.judge(ctx); err != nil {
			c.Disagreements = append(c.Disagreements, err.Error())
		}
	}
	return c
}

// compare fills in Disagreements. A request without any response may or may not
// have reached the gateway.
func (c *Counts) compare(err error, failures, duplicates uint64) {
	disagree := func(when bool, format string, args ...any) {
		if when {
			c.Disagreements = append(c.Disagreements, fmt.Sprintf(format, args...))
		}
	}
	disagree(err != nil, "rows cannot be counted: %v", err)
	disagree(c.Decisions > c.Requests || c.Decisions+failures < c.Requests,
		"%d requests sent (%d without an answer) but %d decisions recorded", c.Requests, failures, c.Decisions)
	disagree(c.Decisions != c.Outcomes, "%d decisions but %d outcomes recorded", c.Decisions, c.Outcomes)
	disagree(err == nil && c.Rows != c.Records, "%d records in the journal but %d rows in ClickHouse", c.Records, c.Rows)
	disagree(duplicates > 0, "%d rows are there more than once", duplicates)
	disagree(c.Requests == 0, "nobody sent a request")
}

// settled waits until the journal stands still: outcomes are written after the
// answer has been sent.
func (w *world) settled(ctx context.Context) (tally, error) {
	for {
		before, err := tallyJournal(w.config)
		if err != nil {
			return tally{}, err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return tally{}, err
		}
		after, err := tallyJournal(w.config)
		if err != nil || after.kinds[audit.KindDecision] == before.kinds[audit.KindDecision] &&
			after.kinds[audit.KindOutcome] == before.kinds[audit.KindOutcome] {
			return after, err
		}
	}
}

// rows waits until ClickHouse holds every record up to last and counts them.
func (w *world) rows(ctx context.Context, last uint64) (gateway.Rows, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		rows, err := gateway.CountRows(ctx, w.config, w.began.Truncate(time.Minute), time.Now().Add(time.Minute))
		if err == nil && rows.Count >= last {
			return rows, nil
		}
		if pause(ctx, 250*time.Millisecond) != nil {
			return rows, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
