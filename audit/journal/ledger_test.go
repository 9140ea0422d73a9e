package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

func entries(t *testing.T, path string) [][]byte {
	t.Helper()
	l, got, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

// ledger makes a ledger of three entries and returns its bytes.
func ledger(t *testing.T, path string) (b []byte, want [][]byte) {
	t.Helper()
	l, got, err := OpenLedger(path)
	if err != nil || len(got) != 0 {
		t.Fatalf("new ledger: %q, %v", got, err)
	}
	want = [][]byte{[]byte("one"), {0}, bytes.Repeat([]byte("three"), 20)}
	for _, e := range want {
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, want
}

func TestLedgerRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks")
	_, want := ledger(t, path)
	if diff := cmp.Diff(want, entries(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l, _, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenLedger(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second opener: %v", err)
	}
	for _, size := range []int{0, maxPayload + 1} {
		if err := l.Append(make([]byte, size)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("append of %d bytes: %v", size, err)
		}
	}
	if err := l.Append([]byte("four")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte("five")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if diff := cmp.Diff(append(want, []byte("four")), entries(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLedgerTornAndDamaged truncates and flips at every byte: within the last
// entry it is cut back, before that it is refused.
func TestLedgerTornAndDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks")
	b, want := ledger(t, path)
	last := len(b) - frameHead - len(want[2])
	for at := range b {
		flipped := slices.Clone(b)
		flipped[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		l, got, err := OpenLedger(path)
		switch {
		case at < last && !errors.Is(err, ErrCorrupt):
			t.Fatalf("byte %d flipped: %v", at, err)
		case at >= last && (err != nil || !cmp.Equal(got, want[:2])):
			t.Fatalf("byte %d flipped: %q, %v", at, got, err)
		}
		if err == nil {
			_ = l.Close()
		}
		if at < last {
			continue
		}
		if err := os.WriteFile(path, b[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := entries(t, path); !cmp.Equal(got, want[:2]) {
			t.Fatalf("cut to %d bytes: %q", at, got)
		}
	}
}

// TestLedgerCallsFail lets each call fail in each way. What Append acknowledged
// is there afterwards, after a power cut too.
func TestLedgerCallsFail(t *testing.T) {
	for name, how := range map[string]fault{"lost": {lost: true}, "half": {half: true}, "persisted": {}} {
		t.Run(name, func(t *testing.T) {
			for op := 1; ; op++ {
				dir := t.TempDir()
				d := newDisk(t, dir)
				d.inject = how
				d.inject.op = op
				acked := ledgerSession(t, d)
				if d.ops < op {
					return
				}
				d.inject = fault{}
				for _, path := range []string{filepath.Join(d.cutPower(nil), "blocks"), filepath.Join(dir, "blocks")} {
					if got := entries(t, path); len(got) < len(acked) || !slices.EqualFunc(got[:len(acked)], acked, bytes.Equal) {
						t.Fatalf("call %d: %q, acknowledged %q", op, got, acked)
					}
				}
			}
		})
	}
}

func ledgerSession(t *testing.T, d *disk) [][]byte {
	t.Helper()
	var acked [][]byte
	for round := range 2 {
		dir, err := openFolder(d.dir, d.wrap)
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := openLedger(dir, "blocks")
		if err != nil {
			continue
		}
		for i := range 3 {
			entry := []byte{'e', byte(round), byte(i)}
			err := l.Append(entry)
			if err != nil && !errors.Is(err, audit.ErrNotDurable) {
				t.Errorf("append: %v", err)
			}
			if err != nil {
				break
			}
			if !d.holds(entry) {
				t.Errorf("entry %v was acknowledged and is not on stable storage", entry)
			}
			acked = append(acked, entry)
		}
		err = l.Append([]byte("more"))
		if l.Close() != nil || err != nil {
			return acked
		}
		acked = append(acked, []byte("more"))
	}
	return acked
}
