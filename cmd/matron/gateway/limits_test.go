package gateway

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/limit"
)

// TestMachinesAskFromTheirNetworksUntilTheirDayIsOver: to the last moment of that day
// in the hospital's time, and however an address is written.
// hazard:GW-24 control:C-189
func TestMachinesAskFromTheirNetworksUntilTheirDayIsOver(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 7, 31, 23, 59, 59, 0, london)
	g := &Gateway{detection: &detection{location: london}, now: func() time.Time { return now }}
	day := config.Day{Time: time.Date(2026, 7, 31, 0, 0, 0, 0, time.UTC)}
	if err := g.setMachines(config.Config{Machines: []config.Machine{
		{Client: "board", Name: "A&E board", Networks: []string{"10.1.2.3/16", "2001:db8::/32"}, Expires: day},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		sub, ip string
		want    error
	}{
		{"board", "10.1.99.1", nil},
		{"board", "::ffff:10.1.2.3", nil},
		{"board", "2001:db8::7", nil},
		{"board", "10.2.0.1", proxy.ErrMachineNetwork},
		{"board", "", proxy.ErrMachineNetwork},
		{"board", "x", proxy.ErrMachineNetwork},
		{"other", "10.1.2.3", proxy.ErrMachineUnknown},
		{"", "10.1.2.3", proxy.ErrMachineUnknown},
	} {
		if err := g.admit(policy.Subject{Sub: row.sub, Machine: true}, row.ip); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
			t.Errorf("%s from %q: %v, want %v", row.sub, row.ip, err, row.want)
		}
	}
	over := time.Date(2026, 8, 1, 0, 0, 0, 0, london)
	if diff := cmp.Diff([]dashboards.Expiry{{Name: "A&E board", At: over}}, g.expiring()); diff != "" {
		t.Error(diff)
	}
	if now = over; !errors.Is(g.admit(policy.Subject{Sub: "board"}, "10.1.2.3"), proxy.ErrMachineExpired) {
		t.Error("admitted after its last day")
	}
	if now = over.AddDate(0, 0, -20); len(g.expiring()) != 0 {
		t.Error("said to run out 20 days before it does")
	}
}

// TestLimitsAreThoseOfTheConfiguration, with no budget where it says none.
func TestLimitsAreThoseOfTheConfiguration(t *testing.T) {
	c := config.Defaults()
	c.Limits.Patients.Roles = map[string]config.PatientBudget{"clerk": {Hour: 5, Shift: 6, ListedHour: config.NoBudget, ListedShift: 8}}
	c.Machines = []config.Machine{{Client: "board", Rate: config.Rate{PerSecond: 1, Burst: 2}, Patients: config.PatientBudget{Hour: config.NoBudget, Shift: 7}}}
	want := limit.Rules{
		Kinds: map[proxy.LimitKind]limit.Rate{
			proxy.Interactive: {PerSecond: 20, Burst: 120}, proxy.SearchKind: {PerSecond: 2, Burst: 30},
			proxy.Bulk: {PerSecond: 0.1, Burst: 3}, proxy.MachineClient: {PerSecond: 50, Burst: 200},
		},
		MaxWait: 2 * time.Second, Shift: 12 * time.Hour, Pause: time.Second,
		Budget:   limit.Budget{Opened: limit.Number{Hour: 100, Shift: 400}, Listed: limit.Number{Hour: 2000, Shift: 6000}},
		Budgets:  map[string]limit.Budget{"clerk": {Opened: limit.Number{Hour: 5, Shift: 6}, Listed: limit.Number{Shift: 8}}},
		Machines: map[string]limit.Machine{"board": {Rate: limit.Rate{PerSecond: 1, Burst: 2}, Budget: limit.Budget{Opened: limit.Number{Shift: 7}}}},
	}
	if diff := cmp.Diff(want, limitRules(c)); diff != "" {
		t.Error(diff)
	}
}
