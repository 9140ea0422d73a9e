package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/dashboards"
)

// A detector that cannot be evaluated is spoken of once, keeps the time when that
// began though the reason changes, and is gone when it can be again.
func TestMissingKeepsSinceWhen(t *testing.T) {
	var m missing
	first := time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC)
	is := func(id, reason string) detect.Missing {
		return detect.Missing{Detector: detect.Detector{ID: id, Version: 1}, Reason: reason}
	}
	type said struct {
		Begun []dashboards.Unjudged
		Ended []string
		List  []dashboards.Unjudged
	}
	const none, late = "not evaluated: no rota feed", "not evaluated: the rota feed ends on 1 November 2026 09:00"
	a, later := dashboards.Unjudged{Detector: "a", Reason: none, Since: first}, dashboards.Unjudged{Detector: "a", Reason: late, Since: first}
	b := dashboards.Unjudged{Detector: "b", Reason: none, Since: first.Add(time.Hour)}
	for i, step := range []struct {
		now  []detect.Missing
		want said
	}{
		{[]detect.Missing{is("a", none)}, said{Begun: []dashboards.Unjudged{a}, List: []dashboards.Unjudged{a}}},
		{[]detect.Missing{is("b", none), is("a", none)}, said{Begun: []dashboards.Unjudged{b}, List: []dashboards.Unjudged{a, b}}},
		{[]detect.Missing{is("a", late), is("b", none)}, said{Begun: []dashboards.Unjudged{later}, List: []dashboards.Unjudged{later, b}}},
		{[]detect.Missing{is("b", none)}, said{Ended: []string{"a"}, List: []dashboards.Unjudged{b}}},
		{nil, said{Ended: []string{"b"}}},
	} {
		begun, ended := m.are(step.now, first.Add(time.Duration(i)*time.Hour))
		if d := cmp.Diff(step.want, said{begun, ended, m.list()}); d != "" {
			t.Errorf("step %d: %s", i, d)
		}
	}
}
