package demo

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// played is the last day of a simulated hospital, to be lived again through the
// gateway.
type played struct {
	day      string
	sittings []staff.Sitting
	steps    int
	labels   []label
}

// label is one line of labels.ndjson.
type label struct {
	Person  string `json:"person"`
	Day     string `json:"day"`
	Kind    string `json:"kind"`
	Patient string `json:"patient"`
}

// line is what is read of an access.
type line struct {
	Time       time.Time `json:"time"`
	Person     string    `json:"person"`
	Action     string    `json:"action"`
	Role       string    `json:"role"`
	Session    string    `json:"session"`
	Screen     string    `json:"screen"`
	Patient    string    `json:"patient"`
	Deliberate *bool     `json:"deliberate"`
}

// parts are the tabs of the record that hold what other records call otherwise.
func parts() map[string]string {
	return map[string]string{
		"results": "results", "observations": "results", "notes": "notes", "letters": "notes", "history": "notes", "medicines": "prescriptions",
	}
}

// openPlayed reads the last day of a folder. It must be today or yesterday: the
// gateway stamps what happens with the moment, and whoever explains it asks who lay
// where then.
func openPlayed(dir string, h *hospital.Hospital, now time.Time) (*played, error) {
	p := &played{}
	lines, err := lastDay(filepath.Join(dir, "accesses.ndjson.zst"), p)
	if err != nil {
		return nil, err
	}
	if today, yesterday := now.Format(time.DateOnly), now.AddDate(0, 0, -1).Format(time.DateOnly); p.day != today && p.day != yesterday {
		return nil, fmt.Errorf("%s ends on %s and not today: make it anew, for example with --days 7 --start %s",
			dir, p.day, now.AddDate(0, 0, -6).Format(time.DateOnly))
	}
	p.sit(h, lines)
	return p, p.readLabels(filepath.Join(dir, "labels.ndjson"))
}

// lastDay is the accesses of the newest day, in order, as the file has them.
func lastDay(path string, p *played) ([]line, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, fmt.Errorf("open accesses: %w", err)
	}
	defer func() { _ = f.Close() }()
	unpacked, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer unpacked.Close()
	var out []line
	number := 0
	for in := bufio.NewScanner(unpacked); in.Scan(); {
		number++
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, number, err)
		}
		if day := l.Time.Format(time.DateOnly); day != p.day {
			p.day, out = day, out[:0]
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no access", path)
	}
	return out, nil
}

// sit makes sessions of the day's accesses, in the order of their first ones. What
// nobody chose to open (a list, a prefetch) comes with the page that shows it.
func (p *played) sit(h *hospital.Hospital, lines []line) {
	at := map[string]int{}
	for i, l := range lines {
		one, known := h.Person(l.Person)
		if !known || one.Machine() || l.Action == "sign-in" || l.Action == "sign-out" {
			continue
		}
		if l.Action != "list" && l.Deliberate != nil && !*l.Deliberate {
			continue
		}
		step := staff.Step{Action: l.Action, Patient: l.Patient, Tab: parts()[l.Screen]}
		switch {
		case l.Action == "search":
			step.Patient = sought(lines[i:], l.Session)
		case l.Action == "list" && len(one.Wards) > 0:
			step.Ward = one.Wards[0]
		case step.Patient == "":
			continue
		}
		n, begun := at[l.Person+l.Session]
		if !begun {
			n = len(p.sittings)
			at[l.Person+l.Session] = n
			p.sittings = append(p.sittings, staff.Sitting{Person: l.Person})
		}
		p.sittings[n].Steps = append(p.sittings[n].Steps, step)
		p.steps++
	}
}

// sought is whom a search was for: the next one opened in the session.
func sought(lines []line, session string) string {
	for _, l := range lines {
		if l.Session == session && l.Action == "read" && l.Patient != "" {
			return l.Patient
		}
	}
	return ""
}

// readLabels reads what was misuse on that day.
func (p *played) readLabels(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return fmt.Errorf("open labels: %w", err)
	}
	defer func() { _ = f.Close() }()
	for in := bufio.NewScanner(f); in.Scan(); {
		var l label
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if l.Day == p.day {
			p.labels = append(p.labels, l)
		}
	}
	return nil
}

// roles names, for jobs that the gateway's policy has no role for, the one they
// work in.
func roles() map[string]string {
	return map[string]string{
		"healthcare-assistant": hospital.Nurse, "student-nurse": hospital.Nurse, "outreach-nurse": hospital.Nurse, "phlebotomist": hospital.Nurse,
		"radiographer": hospital.AlliedHealth, "laboratory-scientist": hospital.AlliedHealth,
		"bed-manager": hospital.WardClerk, "records-clerk": hospital.WardClerk,
	}
}

// openSimulated loads the hospital of a folder and gives everybody a role that the
// policy knows.
func openSimulated(dir string, now time.Time) (*hospital.Hospital, *played, error) {
	h, err := hospital.Load(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open simulated hospital: %w", err)
	}
	h.Day = now.UTC().Truncate(24 * time.Hour)
	p, err := openPlayed(dir, h, now)
	if err != nil {
		return nil, nil, err
	}
	for i := range h.Staff {
		if known, ok := roles()[h.Staff[i].Role()]; ok {
			h.Staff[i].Roles = []string{known}
		}
	}
	return h, p, nil
}

// Misuse is how much of the labelled misuse of a played day the gateway asks about.
type Misuse struct {
	Labels int      `json:"labels"`
	Asked  int      `json:"asked"` // labels that an alert is about
	Unseen []string `json:"unseen"`
	// DelaySeconds is the 95th percentile from the newest access of an alert to the
	// alert.
	DelaySeconds float64 `json:"delay_seconds"`
}

// play lets everybody do what they did on that day.
func (w *world) play(ctx context.Context, roots *x509.CertPool) staff.Counts {
	var done atomic.Int64
	return staff.Play(ctx, w.staff(roots), w.played.sittings, func() {
		n := done.Add(1)
		if w.opts.Played != nil {
			w.opts.Played(int(n), w.played.steps)
		}
	})
}

// judge gives detection time to look at the last of the day and compares its
// alerts with the labels.
func (w *world) judge(ctx context.Context) (*Misuse, error) {
	if err := pause(ctx, 2*w.config.Detection.Every); err != nil {
		return nil, err
	}
	alerts, _, err := gateway.Alerts(ctx, w.config, 10_000)
	if err != nil {
		return nil, err
	}
	m := &Misuse{Labels: len(w.played.labels), Unseen: []string{}}
	m.DelaySeconds = delay(alerts, w.began)
	for _, l := range w.played.labels {
		if w.asked(alerts, l) {
			m.Asked++
			continue
		}
		m.Unseen = append(m.Unseen, l.Kind)
	}
	return m, nil
}

// delay is the 95th percentile of how long alerts about what was played took.
func delay(alerts []detect.Alert, since time.Time) float64 {
	var all []float64
	for i := range alerts {
		if !alerts[i].Made.Before(since) {
			all = append(all, alerts[i].Raised.Sub(alerts[i].Made).Seconds())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(95*len(all)-1)/100]
}

// asked says whether an alert about what was played covers a label, by the rule of
// docs/detection.md; the day of both is that of the run.
func (w *world) asked(alerts []detect.Alert, l label) bool {
	return slices.ContainsFunc(alerts, func(a detect.Alert) bool {
		return (a.Person == l.Person || slices.Contains(a.People, l.Person)) && !a.Made.Before(w.began) && (l.Patient == "" || slices.Contains(a.Patients, l.Patient))
	})
}
