package gateway

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/dashboards"
)

// missing is which detectors are not evaluated, why and since when. It is safe for
// concurrent use.
type missing struct {
	mu  sync.Mutex
	now map[string]dashboards.Unjudged // by detector; guarded by mu
}

// are takes in all that are not evaluated now. begun are those that were until now, or
// for another reason, and ended those that are evaluated again.
func (m *missing) are(all []detect.Missing, at time.Time) (begun []dashboards.Unjudged, ended []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	still := map[string]dashboards.Unjudged{}
	for _, one := range all {
		id := one.Detector.ID
		u, known := m.now[id]
		if !known {
			u.Since = at
		}
		if u.Reason != one.Reason {
			u.Detector, u.Reason = id, one.Reason
			begun = append(begun, u)
		}
		still[id] = u
	}
	for id := range m.now {
		if _, is := still[id]; !is {
			ended = append(ended, id)
		}
	}
	m.now = still
	slices.Sort(ended)
	return begun, ended
}

// list is which there are, in a fixed order.
func (m *missing) list() []dashboards.Unjudged {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []dashboards.Unjudged
	for _, u := range m.now {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b dashboards.Unjudged) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detector, b.Detector))
	})
	return out
}
