package detectors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/feeds"
)

// hour is an hour of the fortnight from Tuesday 1 September 2026 on.
func hour(day, h int) time.Time { return time.Date(2026, 9, 1+day, h, 5, 0, 0, time.UTC) }

// recorded is a fortnight of work: each hour from 8 to 18 twenty looks at a
// workstation of ASH and twenty of OAK, forty messages of a laboratory and five by
// fax; but for what out leaves out.
func recorded(out func(app, device string, at time.Time) bool) []look {
	var looks []look
	for day := range 14 {
		for h := 8; h < 18; h++ {
			add := func(n int, person, app, device string) {
				for i := range n {
					if at := hour(day, h).Add(time.Duration(i) * time.Minute); !out(app, device, at) {
						looks = append(looks, look{
							person: person, patient: fmt.Sprint(device, i), at: at, strong: true,
							more: audit.Imported{Source: "epr", App: app, Device: device},
						})
					}
				}
			}
			add(20, "ann", "notes", "PC-ASH")
			add(20, "cat", "notes", "PC-OAK")
			add(40, "robot", "laboratory", "")
			add(5, "bob", "fax", "")
		}
	}
	return looks
}

// staffedWorld has two people on shift on each ward.
func staffedWorld() feeds.Context {
	c := world()
	for i := range c.Rota {
		c.Rota[i].Ward = map[string]string{"ann": "ASH", "bob": "ASH", "cat": "OAK", "dan": "OAK"}[c.Rota[i].Person]
	}
	return c
}

// silent are what was silent, and from when to when.
func silent(f detectors.Found) (out []string) {
	for _, q := range f.Silences {
		out = append(out, fmt.Sprintf("%s %s, %s to %s, %d", q.Detector, q.Of, q.From.Format("2 15"), q.To.Format("2 15"), q.Usual))
	}
	return out
}

func during(day, from, to int, at time.Time) bool {
	return !at.Before(hour(day, from).Truncate(time.Hour)) && at.Before(hour(day, to).Truncate(time.Hour))
}

// TestAuditSilence: what records falls silent while the rest goes on.
func TestAuditSilence(t *testing.T) {
	everything := []string{"audit-silence Everything that records, 10 08 to 10 18, 850"}
	lab := []string{
		"audit-silence The application laboratory of the source epr, 9 10 to 9 13, 120",
		"audit-silence The interface account robot, 9 10 to 9 13, 120",
	}
	for name, row := range map[string]struct {
		out  func(app, device string, at time.Time) bool
		want []string
	}{
		"all went on":         {func(string, string, time.Time) bool { return false }, nil},
		"an interface":        {func(app, _ string, at time.Time) bool { return app == "laboratory" && during(8, 10, 13, at) }, lab},
		"for two hours":       {func(app, _ string, at time.Time) bool { return app == "laboratory" && during(8, 10, 12, at) }, nil},
		"what is seldom used": {func(app, _ string, at time.Time) bool { return app == "fax" && during(8, 10, 14, at) }, nil},
		"as now and then": {func(app, _ string, at time.Time) bool {
			return app == "laboratory" && at.Day()%4 == 2 && during(at.Day()-1, 14, 17, at)
		}, nil},
		"by night":              {func(_, _ string, at time.Time) bool { return during(8, 0, 8, at) }, nil},
		"everything for a day":  {func(_, _ string, at time.Time) bool { return during(9, 0, 24, at) }, everything},
		"a weekend as any":      {func(_, _ string, at time.Time) bool { return at.Weekday() == time.Sunday }, nil},
		"a ward with the rest":  {func(_, d string, at time.Time) bool { return d == "PC-ASH" && during(8, 10, 13, at) }, []string{"ward-silence The workstations of ward ASH, 9 10 to 9 13, 60"}},
		"a ward without a rota": {func(_, d string, at time.Time) bool { return d == "PC-ASH" && during(8, 15, 18, at) }, nil},
	} {
		looks := recorded(row.out)
		looks = append(looks, look{person: "bob", patient: "x", at: hour(0, 7)}, look{person: "bob", patient: "x", at: hour(13, 19)})
		c := staffedWorld()
		if d := cmp.Diff(row.want, silent(run(c, looks))); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// TestOneApplicationIsEverything: it is named, and needs nothing to go on beside it.
func TestOneApplicationIsEverything(t *testing.T) {
	looks := recorded(func(app, _ string, at time.Time) bool { return app != "notes" || during(8, 10, 13, at) })
	want := []string{"audit-silence The application notes of the source epr, 9 10 to 9 13, 120"}
	if d := cmp.Diff(want, silent(run(world(), looks))); d != "" {
		t.Error(d)
	}
}

// TestWardOnLeaveIsNotOpen: leave and sickness staff no ward.
func TestWardOnLeaveIsNotOpen(t *testing.T) {
	c := staffedWorld()
	for i := range c.Rota {
		c.Rota[i].Kind = []string{"leave", "sick"}[i%2]
	}
	looks := recorded(func(_, d string, at time.Time) bool { return d == "PC-ASH" && during(8, 10, 13, at) })
	if got := silent(run(c, looks)); len(got) > 0 {
		t.Errorf("%v", got)
	}
}
