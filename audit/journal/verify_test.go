package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

func TestVerifyCounts(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, &audit.Record{Kind: audit.KindStart})
	mustAppend(t, j, &audit.Record{Kind: audit.KindDecision}, &audit.Record{Kind: audit.KindPatient, Decision: 2})
	mustAppend(t, j, &audit.Record{Kind: audit.KindDecision})
	mustAppend(t, j, &audit.Record{Kind: audit.KindOutcome, Decision: 2})
	want := Report{
		Source: "gw1", Segments: 1, Records: 5, First: 1, Last: 5,
		Kinds:     map[audit.Kind]uint64{audit.KindStart: 1, audit.KindDecision: 2, audit.KindPatient: 1, audit.KindOutcome: 1},
		Unsettled: []uint64{4},
	}
	for _, when := range []string{"live", "closed"} {
		got, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
		if err := errors.Join(err, got.Err()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		mustClose(t, j)
	}
}

func TestVerifyFindsAMissingSegment(t *testing.T) {
	cfg := small(t)
	fill(t, cfg, 40)
	all, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err != nil || all.Segments < 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	remove(t, cfg, 1)
	got, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err != nil || len(got.Gaps) != 1 || !errors.Is(got.Err(), ErrCorrupt) {
		t.Fatalf("%+v, %v", got, err)
	}
	if missing := got.Gaps[0].Last - got.Gaps[0].First + 1; got.Records+missing != 40 || got.Last != 40 {
		t.Errorf("%+v", got)
	}
}

// TestVerifyGoesOnBehindDamage: one bad record does not hide the others.
func TestVerifyGoesOnBehindDamage(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	for i, fr := range frames[:3] {
		c := slices.Clone(b)
		c[fr.off+frameHead+3] ^= 4
		put(t, cfg, c)
		got, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(i + 1)
		if got.Records != 5 || !slices.Equal(got.Gaps, []Gap{{seq, seq}}) || len(got.Damage) != 1 || got.Damage[0].Offset != fr.off {
			t.Errorf("record %d damaged: %+v", seq, got)
		}
	}
}

// TestSealedSegmentMustBeFull: what Open may cut from the last segment is damage
// in any other.
func TestSealedSegmentMustBeFull(t *testing.T) {
	cfg := small(t)
	fill(t, cfg, 40)
	path := filepath.Join(cfg.Dir, segmentName(1))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-5); err != nil {
		t.Fatal(err)
	}
	got, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err != nil || len(got.Damage) != 1 || len(got.Gaps) != 1 || got.Torn != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	j := mustOpen(t, cfg)
	whole := mustRead(t, j, 1, 100)
	if _, err := j.Read(uint64(len(whole)+1), 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d records, then %v", len(whole), err)
	}
}

func TestVerifyOfNothing(t *testing.T) {
	if _, err := Verify(VerifyOptions{Dirs: []string{t.TempDir()}}); !errors.Is(err, ErrMissing) {
		t.Errorf("empty folder: %v", err)
	}
}
