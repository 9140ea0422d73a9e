package simulate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/matron-epr/matron/audit/feeds"
)

func london(t testing.TB) *time.Location {
	t.Helper()
	l, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// small is a hospital that takes a moment; its days have the end of summer time
// among them.
func small(t testing.TB, seed uint64) Config {
	t.Helper()
	c := Default(seed, time.Date(2025, 10, 13, 0, 0, 0, 0, london(t)))
	c.Staff, c.Days = 90, 14
	return c
}

func written(t testing.TB, c Config) (string, Summary) {
	t.Helper()
	dir := t.TempDir()
	s, err := Run(t.Context(), c, dir, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func TestSameSeedSameBytes(t *testing.T) {
	c := small(t, 4)
	c.Staff, c.Days = 60, 7
	a, _ := written(t, c)
	b, _ := written(t, c)
	c.Seed++
	other, _ := written(t, c)
	for _, name := range []string{"accesses.ndjson.zst", "staff.ndjson", "rota.ndjson", "patients.ndjson", "care.ndjson", "labels.ndjson"} {
		read := func(dir string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		if !bytes.Equal(read(a), read(b)) {
			t.Errorf("%s differs between two runs of one seed", name)
		}
		if bytes.Equal(read(a), read(other)) {
			t.Errorf("%s is the same for another seed", name)
		}
	}
}

// line is what the tests read of an access.
type line struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Person   string    `json:"person"`
	Action   string    `json:"action"`
	Patient  string    `json:"patient"`
	Patients []string  `json:"patients"`
}

func lines(t testing.TB, dir string) []line {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, accessesFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out []line
	for s := bufio.NewScanner(z); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// load reads the files back as detection does.
func load(t testing.TB, dir string) (c feeds.Context, labels []feeds.Label) {
	t.Helper()
	h, err := feeds.NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := feeds.Reader{Hasher: h}
	open := func(name string) io.Reader {
		data, err := os.ReadFile(filepath.Join(dir, name+".ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(data)
	}
	var about [6]feeds.Feed
	var errs [6]error
	c.Staff, about[0], errs[0] = r.Staff(open("staff"))
	c.Rota, about[1], errs[1] = r.Rota(open("rota"))
	c.Patients, about[2], errs[2] = r.Patients(open("patients"))
	c.Care, about[3], errs[3] = r.Care(open("care"))
	c.Devices, about[4], errs[4] = r.Devices(open("devices"))
	labels, about[5], errs[5] = r.Labels(open("labels"))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for _, f := range about {
		if f.Rejected+f.Duplicates+f.Contradictions > 0 || len(f.Unknown) > 0 || f.Rows == 0 {
			t.Errorf("%+v", f)
		}
	}
	return c, labels
}

// TestFilesHoldTogether (see mostCanBeExplained as well): the files are in the fixed forms, nobody is in two wards
// or beds at once, accesses stand in order with ids of their own, and each label
// is about accesses that are there.
func TestFilesHoldTogether(t *testing.T) {
	cfg := small(t, 1)
	dir, sum := written(t, cfg)
	c, labels := load(t, dir)
	all := lines(t, dir)
	mostCanBeExplained(t, c, labels, all)
	survivor := map[string]string{}
	for _, p := range c.Patients {
		survivor[p.ID] = p.ID
		if p.MergedInto != "" {
			survivor[p.ID] = p.MergedInto
		}
	}
	if d := cmp.Diff(Summary{len(c.Staff), len(c.Patients), c.Care.Len(), len(c.Rota), len(c.Devices), len(all), len(labels)}, sum); d != "" {
		t.Errorf("summary:\n%s", d)
	}
	done := map[feeds.Label]bool{}
	ids := map[string]bool{}
	people := map[string]bool{}
	first, last := cfg.Start, cfg.Start.AddDate(0, 0, cfg.Days)
	for i, l := range all {
		if i > 0 && l.Time.Before(all[i-1].Time) {
			t.Fatalf("%s is earlier than the one before", l.ID)
		}
		if ids[l.ID] || l.Time.Before(first) || !l.Time.Before(last) {
			t.Fatalf("%s twice, or outside the days: %v", l.ID, l.Time)
		}
		ids[l.ID], people[l.Person] = true, true
		for _, p := range append(slices.Clone(l.Patients), l.Patient) {
			if p != "" && survivor[p] == "" {
				t.Fatalf("%s: patient %s is not in the file", l.ID, p)
			}
		}
		day := l.Time.In(london(t)).Format(time.DateOnly)
		done[feeds.Label{Person: l.Person, Day: day, Patient: survivor[l.Patient]}] = true
		done[feeds.Label{Person: l.Person, Day: day}] = true
	}
	kinds := map[string]int{}
	for _, l := range labels {
		kinds[l.Kind]++
		l.Kind = ""
		if !done[l] {
			t.Errorf("nothing was done for %+v", l)
		}
	}
	if len(kinds) < 17 {
		t.Errorf("kinds of misuse: %v", kinds)
	}
	perDay := float64(len(all)) / float64(cfg.Staff*cfg.Days)
	if perDay < 20 || perDay > 40 || len(people) < cfg.Staff*9/10 {
		t.Errorf("%.1f accesses a person and day by %d people", perDay, len(people))
	}
}

// truths runs a hospital and counts the truth of what people did.
func truths(c Config) (all, first map[why]int) {
	w := newWorld(c)
	all, first = map[why]int{}, map[why]int{}
	seen := map[[2]int32]bool{}
	for d := range c.Days {
		for _, a := range w.live(d) {
			pair := [2]int32{a.person, a.patient}
			if a.patient < 0 || w.people[a.person].machine() {
				continue
			}
			all[a.why]++
			if !seen[pair] {
				seen[pair] = true
				first[a.why]++
			}
		}
	}
	return all, first
}

// TestShareOfWorkWithoutAReason: as in hospitals, between one and three in a
// hundred accesses have no reason that any feed knows, more of the first ones,
// and misuse is rarer than that.
func TestShareOfWorkWithoutAReason(t *testing.T) {
	c := small(t, 2)
	c.Staff, c.Days = 300, 21
	all, first := truths(c)
	share := func(of map[why]int, k why) float64 {
		n := 0
		for _, v := range of {
			n += v
		}
		return float64(of[k]) / float64(n)
	}
	for name, row := range map[string][3]float64{
		"all":        {share(all, unknown), .008, .03},
		"first":      {share(first, unknown), .02, .09},
		"misuse":     {share(all, misuse), .0003, .01},
		"charted":    {share(all, charted), .001, .03},
		"incidental": {share(all, incidental), 0, 0},
	} {
		if row[0] < row[1] || row[0] > row[2] {
			t.Errorf("%s: %.4f is not between %g and %g", name, row[0], row[1], row[2])
		}
	}
}

// explainer finds out from the files alone what could explain an access: a stay on
// the person's ward or one that the rota sends them to, a list of their team,
// papers that name them, a night on call, or that they wrote in the record.
type explainer struct {
	t     testing.TB
	staff map[string][]feeds.Staff
	rota  map[string][]feeds.Shift
	care  map[string][]feeds.Care
	wrote map[[2]string][]time.Time
}

func newExplainer(t testing.TB, c feeds.Context, all []line) explainer {
	r := explainer{t, map[string][]feeds.Staff{}, map[string][]feeds.Shift{}, map[string][]feeds.Care{}, map[[2]string][]time.Time{}}
	for _, s := range c.Staff {
		r.staff[s.Person] = append(r.staff[s.Person], s)
	}
	for _, s := range c.Rota {
		r.rota[s.Person] = append(r.rota[s.Person], s)
	}
	for i := range c.Care.Len() {
		f := c.Care.At(i)
		r.care[f.Patient] = append(r.care[f.Patient], f)
	}
	for _, l := range all {
		if l.Action == "create" || l.Action == "update" {
			r.wrote[[2]string{l.Person, l.Patient}] = append(r.wrote[[2]string{l.Person, l.Patient}], l.Time)
		}
	}
	return r
}

func (r explainer) explain(l line) bool {
	const day = 24 * time.Hour
	for _, at := range r.wrote[[2]string{l.Person, l.Patient}] {
		if d := l.Time.Sub(at); d < day && d > -day {
			return true
		}
	}
	wards, teams, onCall := map[string]bool{}, map[string]bool{}, false
	for _, s := range r.staff[l.Person] {
		for _, w := range s.Wards {
			wards[w] = true
		}
		teams[s.Team] = true
	}
	for _, s := range r.rota[l.Person] {
		if l.Time.After(s.Start.Add(-time.Hour)) && l.Time.Before(s.End.Add(time.Hour)) {
			wards[s.Ward] = true
			onCall = onCall || s.Kind == "on-call"
		}
	}
	delete(wards, "")
	delete(teams, "")
	for _, f := range r.care[l.Patient] {
		end := f.End
		if end.IsZero() {
			end = f.Start
		}
		if l.Time.Before(f.Start.Add(-2*day)) || l.Time.After(end.Add(14*day)) {
			continue
		}
		if wards[f.Ward] || teams[f.Team] || slices.Contains(f.People, l.Person) || onCall && f.Kind == "inpatient" {
			return true
		}
	}
	return false
}

// mostCanBeExplained: most work can be explained from the files, and next to no misuse: the bar for
// detection can be reached. On duty on the patient's own ward nothing tells
// misuse from work, so a part of it is always explained.
func mostCanBeExplained(t *testing.T, c feeds.Context, labels []feeds.Label, all []line) {
	t.Helper()
	all = slices.Clone(all)
	survivor := map[string]string{}
	machine := map[string]bool{}
	for _, p := range c.Patients {
		survivor[p.ID] = p.MergedInto
	}
	for _, s := range c.Staff {
		machine[s.Person] = s.Kind == "machine"
	}
	for i := range all {
		if into := survivor[all[i].Patient]; into != "" {
			all[i].Patient = into
		}
	}
	bad := map[feeds.Label]bool{}
	for _, l := range labels {
		l.Kind = ""
		bad[l] = true
	}
	r := newExplainer(t, c, all)
	var work, explained, first, firstExplained, pried, priedExplained int
	seen := map[[2]string]bool{}
	for _, l := range all {
		if l.Patient == "" || machine[l.Person] {
			continue
		}
		why := r.explain(l)
		day := l.Time.In(london(t)).Format(time.DateOnly)
		if bad[feeds.Label{Person: l.Person, Day: day, Patient: l.Patient}] {
			pried++
			priedExplained += count(why)
		}
		work++
		explained += count(why)
		if pair := [2]string{l.Person, l.Patient}; !seen[pair] {
			seen[pair] = true
			first++
			firstExplained += count(why)
		}
	}
	t.Logf("explained: %d of %d, first %d of %d, misuse of one patient %d of %d", explained, work, firstExplained, first, priedExplained, pried)
	if a, f := float64(explained)/float64(work), float64(firstExplained)/float64(first); a < .955 || a > .995 || f < .89 || f > .98 {
		t.Errorf("explained: %.4f of all, %.4f of first accesses", a, f)
	}
	if p := float64(priedExplained) / float64(pried); p > .15 {
		t.Errorf("%.3f of the misuse is explained by the simplest rules", p)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSettings(t *testing.T) {
	none := small(t, 3)
	none.Misuse = 0
	if dir, s := written(t, none); s.Labels != 0 {
		t.Errorf("%d labels without misuse in %s", s.Labels, dir)
	}
	noisy, quiet := small(t, 3), small(t, 3)
	noisy.Noise, quiet.Noise = .1, 0
	many, _ := truths(noisy)
	few, _ := truths(quiet)
	if many[unknown] < 2*few[unknown] {
		t.Errorf("noise: %d and %d accesses without a reason", many[unknown], few[unknown])
	}
	bad := Config{Staff: 1, Days: 1, Stealth: 2, Noise: -1, CareLoss: 9, RotaLoss: 9, Misuse: -1}
	if _, err := Run(t.Context(), bad, t.TempDir(), func(int) {}); err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("mistakes: %v", err)
	}
}

// TestStoppedRunLeavesNothing in place.
func TestStoppedRunLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	if _, err := Run(ctx, small(t, 5), dir, func(int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
