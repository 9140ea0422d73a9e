package crashtest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row is one line of the table in docs/crash-trials.md.
type row struct {
	family, planted string // planted: the bug, "" for Matron as it is
	caught, trials  int
	took            time.Duration
}

// table is what this run found; TestMain prints it with -v.
var table []*run

func printed(runs []*run) string {
	var b strings.Builder
	b.WriteString("\n| trials | planted bug | caught | of | run time |\n|---|---|---|---|---|\n")
	for _, run := range runs {
		r := run.row
		planted := r.planted
		if planted == "" {
			planted = "none"
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.1f s |\n", r.family, planted, r.caught, r.trials, r.took.Seconds())
	}
	return b.String()
}

// run counts the trials of one line.
type run struct {
	t     *testing.T
	row   row
	began time.Time
	due   time.Duration // when to say how far it is
}

func begin(t *testing.T, family, planted string) *run {
	t.Helper()
	r := &run{t: t, row: row{family: family, planted: planted}, began: time.Now()}
	table = append(table, r)
	return r
}

// trial notes the outcome of one trial. Without a planted bug an error is a
// failure; with one it is the bug, caught.
func (r *run) trial(err error) {
	r.t.Helper()
	r.row.trials++
	r.row.took = time.Since(r.began)
	if *full && r.row.took > r.due {
		r.t.Logf("%s: %d trials so far", r.row.family, r.row.trials)
		r.due = r.row.took + 10*time.Second
	}
	if err == nil {
		return
	}
	r.row.caught++
	if r.row.planted == "" {
		r.t.Errorf("trial %d: %v", r.row.trials, err)
		return
	}
	r.t.Logf("trial %d: caught: %v", r.row.trials, err)
}

// until repeats a trial with a planted bug until it is caught, and fails when it
// is not in the most trials allowed: trials that can no longer find the bug
// prove nothing. With -full it makes all of them.
func (r *run) until(most int, trial func(n int) error) {
	r.t.Helper()
	for n := range most {
		r.trial(trial(n))
		if r.row.caught > 0 && !*full {
			return
		}
	}
	if r.row.caught == 0 {
		r.t.Errorf("planted bug %q was not caught in %d trials", r.row.planted, most)
	}
}

// each makes n trials of Matron as it is, or until one fails.
func (r *run) each(n int, trial func(n int) error) {
	r.t.Helper()
	for i := range n {
		r.trial(trial(i))
		if r.row.caught > 0 {
			return
		}
	}
}

// once makes the one trial that is enough where chance plays no part.
func (r *run) once(trial func(n int) error) {
	r.t.Helper()
	if r.row.planted == "" {
		r.trial(trial(0))
		return
	}
	r.until(1, trial)
}
