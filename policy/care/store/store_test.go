package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/matron-epr/matron/policy/care"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// admission is message n: patient n comes to ward A.
func admission(n int) care.Message {
	return care.Message{{
		Kind: care.Stay, Patient: []care.ID{{Authority: "RCB", Value: strconv.Itoa(n)}, {Authority: care.NHS, Value: fmt.Sprintf("999%07d", n)}},
		Source: "PAS", Control: "m" + strconv.Itoa(n), At: noon, Sent: noon, Visit: "V" + strconv.Itoa(n), Class: 'I', Ward: "A",
		People: []care.Clinician{{ID: care.ID{Authority: "GMC", Value: "C1"}}, {ID: care.ID{Value: "C2"}, Referring: true}},
	}}
}

type bed struct {
	*Store
	*care.Register
	logged *bytes.Buffer
}

func start(t testing.TB, dir string, change ...func(*Config)) bed {
	t.Helper()
	b := bed{Register: care.New(care.Windows{}), logged: &bytes.Buffer{}}
	b.Use(care.Lists{Staff: []care.Person{{Person: "nurse", Wards: []string{"A"}}}})
	c := Config{Dir: dir, Register: b.Register, Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(b.logged, nil))}
	for _, f := range change {
		f(&c)
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	b.Store = s
	t.Cleanup(func() { _ = s.Close() })
	return b
}

func (b bed) accept(t testing.TB, messages ...care.Message) {
	t.Helper()
	for _, m := range messages {
		if err := b.Accept(m); err != nil {
			t.Fatal(err)
		}
	}
}

// admitted lists which of the first n patients are known to be in.
func (b bed) admitted(n int) []int {
	var out []int
	for i := range n {
		if len(b.Relations("nurse", care.ID{Authority: "RCB", Value: strconv.Itoa(i)}, noon)) > 0 {
			out = append(out, i)
		}
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestEverythingSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	b.accept(t, admission(0), admission(1), care.Message{{
		Kind: care.Merge, Patient: []care.ID{{Authority: "RCB", Value: "9"}}, Prior: care.ID{Authority: "RCB", Value: "1"}, Source: "PAS", Control: "a40", At: noon,
	}}, care.Message{{
		Kind: care.Flag, Patient: []care.ID{{Authority: "RCB", Value: "9"}}, Said: care.VIP | care.Deceased, Flags: care.VIP, Source: "PAS", Control: "a08", At: noon,
	}})
	for range 3 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = start(t, dir)
		if diff := cmp.Diff(upTo(2), b.admitted(5)); diff != "" {
			t.Fatal(diff)
		}
		if got, _ := b.Resolve(care.ID{Authority: care.NHS, Value: "9990000001"}); got.Value != "9" {
			t.Errorf("merge is lost: %v", got)
		}
		if got, _ := b.Flags(care.ID{Authority: "RCB", Value: "1"}); got != care.VIP {
			t.Errorf("flags are lost: %b", got)
		}
		if diff := cmp.Diff([]care.Feed{{Source: "PAS", Last: noon}}, b.Feeds()); diff != "" {
			t.Error(diff)
		}
		if err := b.Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, _ := d.Info()
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.logged.Len() > 0 {
		t.Error(b.logged)
	}
}

// However much of the file is there, every whole message of it is, and the store
// goes on.
func TestTornEndIsCutBack(t *testing.T) {
	t.Parallel()
	const messages = 4
	dir := t.TempDir()
	b := start(t, dir)
	var ends []int64
	for i := range messages {
		b.accept(t, admission(i))
		ends = append(ends, b.size)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, logName(1)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		left := 0
		for left < messages && ends[left] <= int64(cut) {
			left++
		}
		b := start(t, dir)
		if diff := cmp.Diff(upTo(left), b.admitted(messages), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
		end := int64(0)
		if left > 0 {
			end = ends[left-1]
		}
		if info, err := os.Stat(filepath.Join(dir, logName(1))); err != nil || info.Size() != end {
			t.Fatalf("cut at %d: %v, %v, want %d bytes", cut, info, err, end)
		}
		b.accept(t, admission(left))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = start(t, dir)
		if got := len(b.admitted(messages + 1)); got != left+1 {
			t.Fatalf("cut at %d: %d messages after going on, want %d", cut, got, left+1)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Damage costs the messages it hits and no other, and is reported.
// hazard:GW-21 control:C-170
func TestDamageIsPassedOverAndReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	b.accept(t, admission(0), admission(1), admission(2))
	middle := b.size / 2
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, logName(1))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[middle] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b = start(t, dir)
	if diff := cmp.Diff([]int{0, 2}, b.admitted(3)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(b.logged.String(), "damaged") {
		t.Error("nothing is reported")
	}
}

// A process that is killed has lost nothing that it said was accepted.
// hazard:GW-21 control:C-170
func TestKilledProcessHasLostNothing(t *testing.T) {
	if dir := os.Getenv("MATRON_CARE_VICTIM"); dir != "" {
		b := start(t, dir, func(c *Config) { c.Compact = 10_000 })
		for i := range 1_000_000 {
			b.accept(t, admission(i))
			fmt.Println("accepted", i)
		}
	}
	t.Parallel()
	dir := t.TempDir()
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcessHasLostNothing$")
	victim.Env = append(os.Environ(), "MATRON_CARE_VICTIM="+dir)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	accepted := -1
	for accepted < 200 {
		if _, err := fmt.Fscanf(out, "accepted %d\n", &accepted); err != nil {
			t.Fatal(err)
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := fmt.Fscanf(out, "accepted %d\n", &accepted); err != nil {
			break
		}
	}
	_ = victim.Wait()
	b := start(t, dir)
	if diff := cmp.Diff(upTo(accepted+1), b.admitted(accepted+1)); diff != "" {
		t.Errorf("%d were accepted: %s", accepted+1, diff)
	}
}

// fault is a file that fails, and checks that what was written is synced before
// anything is applied.
type fault struct {
	file
	write, sync error
	dirty       *bool
}

func (f fault) Write(p []byte) (int, error) {
	if f.write != nil {
		n, _ := f.file.Write(p[:len(p)/2]) // a full disk takes a part
		return n, f.write
	}
	*f.dirty = true
	return f.file.Write(p)
}

func (f fault) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	*f.dirty = false
	return f.file.Sync()
}

func TestMessageThatIsNotOnDiskIsNotAccepted(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]fault{"write": {write: errors.New("no space")}, "sync": {sync: errors.New("input or output")}} {
		dir := t.TempDir()
		b := start(t, dir)
		b.accept(t, admission(0))
		good, dirty := b.log, false
		broken.file, broken.dirty = good, &dirty
		b.log = broken
		if err := b.Accept(admission(1)); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if diff := cmp.Diff([]int{0}, b.admitted(3)); diff != "" {
			t.Errorf("%s: applied all the same: %s", name, diff)
		}
		plain := b.open
		b.open = func(name string, flag int) (file, error) {
			f, err := plain(name, flag)
			return fault{file: f, dirty: &dirty}, err
		}
		b.accept(t, admission(2))
		if dirty {
			t.Errorf("%s: applied before it was synced", name)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = start(t, dir)
		if got := b.admitted(3); !slices.Contains(got, 0) || !slices.Contains(got, 2) {
			t.Errorf("%s: after a restart: %v", name, got)
		}
	}
}

// What is kept is bounded by what is needed: logs go when a snapshot holds them,
// old visits go with it.
func TestSnapshotsBoundTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := noon
	b := start(t, dir, func(c *Config) { c.Compact, c.Now = 2000, func() time.Time { return now } })
	for range 30 {
		for i := range 10 {
			b.accept(t, admission(i)) // the same over and over
		}
	}
	if err := b.Snapshot(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	if diff := cmp.Diff(upTo(10), b.admitted(20)); diff != "" {
		t.Error(diff)
	}
	b.accept(t, admission(10))
	_ = b.Close()
	b = start(t, dir)
	if diff := cmp.Diff(upTo(11), b.admitted(20)); diff != "" {
		t.Error(diff)
	}
	now = noon.AddDate(2, 0, 0)
	b = start(t, t.TempDir(), func(c *Config) { c.Now = func() time.Time { return now } })
	b.accept(t, admission(0))
	if err := b.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if c := b.Counts(); c.Events != 0 || c.Patients != 1 {
		t.Errorf("after two years: %+v", c)
	}
}

// A snapshot that was not finished, and logs that it had not removed yet, do no harm.
func TestUnfinishedSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	b.accept(t, admission(0))
	log, err := os.ReadFile(filepath.Join(dir, logName(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Snapshot(); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	for name, data := range map[string][]byte{logName(1): log, draft: []byte("half"), "snapshot-00000000": log[:20]} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b = start(t, dir)
	b.accept(t, admission(1))
	if diff := cmp.Diff(upTo(2), b.admitted(3)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, logName(1))); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a log stays that the snapshot holds")
	}
}

// hooked calls a function before what is written first.
type hooked struct {
	file
	first func()
}

func (h *hooked) Write(p []byte) (int, error) {
	if h.first != nil {
		h.first()
		h.first = nil
	}
	return h.file.Write(p)
}

// A snapshot of a large register takes longer than a gateway has to stop.
func TestClosingGivesUpASnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	b.accept(t, admission(0))
	for i := range 30_000 { // more than a buffer of the writer holds
		b.Apply(admission(i))
	}
	plain, closed := b.open, make(chan error, 1)
	b.open = func(name string, flag int) (file, error) {
		f, err := plain(name, flag)
		if name != draft {
			return f, err
		}
		return &hooked{f, func() {
			go func() { closed <- b.Close() }()
			for !b.closing.Load() {
				time.Sleep(time.Millisecond)
			}
		}}, err
	}
	if err := b.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot of a store that closes: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"log-00000001"}) {
		t.Errorf("left behind: %v", got)
	}
	if got := start(t, dir).admitted(2); !slices.Equal(got, []int{0}) {
		t.Errorf("afterwards %v", got)
	}
}

// Whoever stops the gateway while it reads does not wait, and changes nothing on disk.
func TestOpeningEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	b.accept(t, admission(0), admission(1))
	if err := b.Snapshot(); err != nil {
		t.Fatal(err)
	}
	b.accept(t, admission(2))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log-00000002")
	if err := os.Truncate(log, 1<<40); err != nil { // zeros, which would be looked through for days
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	c := Config{Dir: dir, Register: care.New(care.Windows{}), Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)}
	if _, err := Open(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("opened: %v", err)
	}
	if info, err := os.Stat(log); err != nil || info.Size() != 1<<40 {
		t.Errorf("what was not read through is cut back: %v %v", info, err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"log-00000002", "snapshot-00000001"}) {
		t.Errorf("the folder holds %v", got)
	}
	if err := os.Truncate(log, 1000); err != nil {
		t.Fatal(err)
	}
	if got := start(t, dir).admitted(4); !slices.Equal(got, upTo(3)) {
		t.Errorf("afterwards %v", got)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestClosedStoreAcceptsNothing(t *testing.T) {
	t.Parallel()
	b := start(t, t.TempDir())
	_ = b.Close()
	if err := b.Accept(admission(0)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	bad := admission(0)
	bad[0].Control = ""
	if err := start(t, t.TempDir()).Accept(bad); !errors.Is(err, care.ErrChange) {
		t.Error(err)
	}
}

// Whatever stands in a file, reading it neither panics nor changes what was written.
func FuzzCareEntry(f *testing.F) {
	f.Add(encode(nil, entry{"PAS", noon, admission(1)}))
	f.Add(encode(nil, entry{"PAS", noon, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again, cmp.AllowUnexported(entry{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// BenchmarkMillionPatients takes a snapshot of a million patients with four events
// each and opens it again.
func BenchmarkMillionPatients(b *testing.B) {
	dir := b.TempDir()
	r := start(b, dir)
	for i := range 1_000_000 {
		m := admission(i)
		for e := range 4 {
			m[0].At, m[0].Control = noon.Add(time.Duration(e)*time.Hour), fmt.Sprintf("%016d", 4*i+e)
			r.Apply(m)
		}
	}
	for b.Loop() {
		began := time.Now()
		if err := r.Snapshot(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/snapshot")
		b.ReportMetric(float64(r.snapshot)/(1<<20), "MiB")
		_ = r.Close()
		began = time.Now()
		r = start(b, dir)
		b.ReportMetric(time.Since(began).Seconds(), "s/open")
	}
}

func BenchmarkAccept(b *testing.B) {
	r := start(b, b.TempDir())
	i := 0
	for b.Loop() {
		i++
		r.accept(b, admission(i))
	}
}
