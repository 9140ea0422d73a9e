package gateway

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/proxy"
)

// machineGateway is a gateway with a journal and as much disk as used says.
func machineGateway(t *testing.T, used *float64) (*Gateway, *strings.Builder) {
	t.Helper()
	jc := journal.Config{Dir: filepath.Join(t.TempDir(), "journal"), Source: "gw1", Site: "RBA", Now: time.Now, SegmentBytes: 1 << 20}
	if err := journal.Create(jc); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(jc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	logged := &strings.Builder{}
	log := slog.New(slog.NewTextHandler(logged, nil))
	g := &Gateway{journal: j, log: log, now: time.Now, cfg: config.Defaults()}
	g.disk = host.NewDisk(host.DiskConfig{
		Watermarks: [3]int{80, 90, 95}, Log: log, Now: time.Now,
		Measure: func(string) (host.Usage, error) { return host.Usage{Used: *used, Free: 1 << 30}, nil },
	})
	g.clock = host.NewClock(host.ClockConfig{Read: host.NewReader(time.Now), Stepped: g.clockStepped})
	return g, logged
}

// hazard:GW-14 control:C-57
func TestClockStepIsRecorded(t *testing.T) {
	used := .1
	g, logged := machineGateway(t, &used)
	at := time.Date(2026, 10, 25, 1, 0, 0, 123456789, time.FixedZone("BST", 3600))
	g.clockStepped(t.Context(), host.Step{At: at, Before: -time.Second, After: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.journal.Wait(ctx, 0); err != nil {
		t.Fatal(err)
	}
	records, err := g.journal.Read(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := records[0]
	got.Nonce = [16]byte{}
	want := audit.Record{
		Site: "RBA", Source: "gw1", Seq: 1, Time: time.Date(2026, 10, 25, 0, 0, 0, 123456000, time.UTC), Kind: audit.KindClock,
		Detail: []string{"offset_before=-1s", "offset_after=1h0m0s", "step=1h0m1s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(logged.String(), `msg="clock stepped" by=1h0m1s`) {
		t.Errorf("log: %s", logged)
	}
}

func TestDiskLevelsReachTheProxy(t *testing.T) {
	for used, want := range map[float64]proxy.Shortage{.1: proxy.NoShortage, .8: proxy.ShortForBulk, .9: proxy.ShortForSearch, .95: proxy.ShortForAll, 1: proxy.ShortForAll} {
		g, _ := machineGateway(t, &used)
		if got := g.shortage(); got != want {
			t.Errorf("%v used: %d, want %d", used, got, want)
		}
	}
}

// What is not there is said not to be there, and what lags is not ready.
func TestReadinessTellsOfTheMachine(t *testing.T) {
	used := .85
	g, _ := machineGateway(t, &used)
	notes := func() map[string]check {
		out := map[string]check{}
		for _, c := range g.machineChecks() {
			out[strings.TrimSuffix(c.Name, " (not required)")] = check{OK: c.OK, Note: c.Note}
		}
		return out
	}
	want := map[string]check{
		"disk": {Note: "85% used, level no-bulk-export"}, "clock": {OK: true},
		"witness": {OK: true, Note: "not set up"},
	}
	if diff := cmp.Diff(want, notes()); diff != "" {
		t.Error(diff)
	}
	late := dashboards.Copy{Set: true, State: dashboards.StateFailed, Waiting: 3, Behind: time.Minute}
	if c := copyCheck("witness", late); c.OK || c.Note != "3 wait, 1m0s behind" {
		t.Errorf("a witness that is late: %+v", c)
	}
	var h dashboards.Health
	g.machineHealth(&h)
	if h.SecondSink != "" || h.Disk.Level != 1 || h.Disk.State != dashboards.StateOK || h.Witness.Set || h.LogServer.Set {
		t.Errorf("health %+v", h)
	}
	step := host.Step{At: time.Now().Add(-23 * time.Hour), After: time.Hour}
	if c := clockCheck(step, time.Now()); c.OK || !strings.Contains(c.Note, "stepped by 1h0m0s at 20") {
		t.Errorf("a step of today: %+v", c)
	}
	if c := clockCheck(step, time.Now().Add(2*time.Hour)); !c.OK || c.Note == "" {
		t.Errorf("a step of yesterday: %+v", c)
	}
	if c := diskCheck(host.DiskState{}); c.OK || !strings.HasPrefix(c.Note, "cannot be measured") {
		t.Errorf("a disk that was never measured: %+v", c)
	}
}
