package audit

import "time"

// Access is one Decision or Patient record together with what became of the
// exchange. Settled false means that no Outcome record is known: the outcome is
// unknown, which is reported and never repaired.
type Access struct {
	Record
	Settled bool
}

// Join makes an access of a record and the outcome of its exchange, nil when
// none is known.
func Join(r Record, outcome *Record) Access {
	if outcome == nil {
		return Access{Record: r}
	}
	r.Outcome, r.Status, r.Error = outcome.Outcome, outcome.Status, outcome.Error
	r.BytesIn, r.BytesOut, r.Results = outcome.BytesIn, outcome.BytesOut, outcome.Results
	r.Duration, r.Upstream, r.UpstreamTo = outcome.Duration, outcome.Upstream, outcome.UpstreamTo
	return Access{Record: r, Settled: true}
}

// Query narrows a list of accesses. Empty fields do not narrow; a query without
// Patient, NHSNumber and Person lists everything. Patient and NHSNumber together
// are two numbers of one patient: either finds a row. Newest first.
type Query struct {
	Site      string
	Patient   string
	NHSNumber string
	Person    string
	From, To  time.Time // From inclusive, To exclusive
	Effect    string    // allow, challenge, deny
	// Identified leaves out what nobody known asked for, such as the browser that
	// is sent to sign in.
	Identified bool
	Limit      int // at most this many rows; 0 means 100
	// Before continues a list: only rows older than this place.
	Before Place
}

// Place is where a row stands in a list that is ordered by time.
type Place struct {
	Time   time.Time
	Source string
	Seq    uint64
}

// Rate is what happened within one interval.
type Rate struct {
	Start    time.Time
	Requests uint64
	Denials  uint64
	Nobody   uint64 // of the denials, those of nobody known: sent to sign in
	Limited  uint64
	Failures uint64 // exchanges whose outcome is 8 or 12
	P50, P99 time.Duration
}
