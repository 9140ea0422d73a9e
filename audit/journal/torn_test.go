package journal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/matron-epr/matron/audit"
)

// crashed returns the bytes of a segment as a crash leaves it: three group
// commits of one, two and three records, then zeros, and where each frame is.
func crashed(t *testing.T, cfg Config) (b []byte, frames []frame) {
	t.Helper()
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for n := 1; n <= 3; n++ {
		records := make([]*audit.Record, n)
		for i := range records {
			records[i] = &audit.Record{Kind: audit.KindDecision, Patient: "7"}
		}
		mustAppend(t, j, records...)
	}
	b, err := os.ReadFile(filepath.Join(cfg.Dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	f, size, err := j.dirView(t, segmentName(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := scan(f, "", segmentHead, size, func(fr frame) error {
		frames = append(frames, frame{off: fr.off, start: fr.start, payload: slices.Clone(fr.payload)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(frames) != 6 || frames[5].start != frames[3].off || frames[3].off != frames[3].start {
		t.Fatalf("not the commits that were wanted: %v", frames)
	}
	return b, frames
}

func (j *Journal) dirView(t *testing.T, name string) (*os.File, int64, error) {
	t.Helper()
	d, err := openFolder(j.cfg.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.root.Close() })
	return d.view(name)
}

func put(t *testing.T, cfg Config, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(cfg.Dir, segmentName(1)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reopens opens the journal, expects records up to last, appends one and closes.
func reopens(t *testing.T, cfg Config, last uint64, place int) {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatalf("byte %d: %v", place, err)
	}
	if got := j.Committed(); got != last {
		t.Fatalf("byte %d: committed %d, want %d", place, got, last)
	}
	if got := mustAppend(t, j, &audit.Record{}).Seq; got != last+1 {
		t.Fatalf("byte %d: continued with %d", place, got)
	}
	if got := len(mustRead(t, j, 1, 100)); uint64(got) != last+1 {
		t.Fatalf("byte %d: read %d records", place, got)
	}
	mustClose(t, j)
}

// wholeBefore counts the frames that end at or before the offset.
func wholeBefore(frames []frame, off int) (n uint64) {
	for _, fr := range frames {
		if fr.end() <= int64(off) {
			n++
		}
	}
	return n
}

func TestTornTailIsCutAtEveryByte(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	begin, end := int(frames[3].off), int(frames[5].end())
	damage := map[string]func(at int) []byte{
		"file ends here":  func(at int) []byte { return b[:at] },
		"zeros from here": func(at int) []byte { return append(slices.Clone(b[:at]), make([]byte, len(b)-at)...) },
		"one bit flipped": func(at int) []byte {
			c := slices.Clone(b)
			c[at] ^= 1 << (at % 8)
			return c
		},
		"junk from here": func(at int) []byte {
			c := slices.Clone(b)
			for i := at; i < end; i++ {
				c[i] = ^c[i]
			}
			return c
		},
	}
	for name, damaged := range damage {
		t.Run(name, func(t *testing.T) {
			for at := begin; at < end; at++ {
				put(t, cfg, damaged(at))
				reopens(t, cfg, wholeBefore(frames, at), at)
			}
		})
	}
}

// TestJunkBehindTheTailIsCut: an unfinished write that reached its end only.
func TestJunkBehindTheTailIsCut(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	for at := int(frames[5].end()); at < int(frames[5].end())+64; at++ {
		c := slices.Clone(b)
		c[at] = 0xff
		put(t, cfg, c)
		reopens(t, cfg, 6, at)
	}
}

// TestDamageBeforeTheLastCommitIsRefused: a flipped bit in what was synced is an
// error that names the place, and the file is left as it is.
func TestDamageBeforeTheLastCommitIsRefused(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	for at := range int(frames[3].off) {
		c := slices.Clone(b)
		c[at] ^= 1 << (at % 8)
		put(t, cfg, c)
		want := Damage{File: segmentName(1)}
		if at >= segmentHead {
			want.Offset = frames[wholeBefore(frames, at)].off
		}
		_, err := Open(cfg)
		var got *Damage
		if !errors.As(err, &got) || !errors.Is(err, ErrCorrupt) || got.File != want.File || got.Offset != want.Offset {
			t.Fatalf("byte %d: error %v, want damage at %v", at, err, want)
		}
		now, err := os.ReadFile(filepath.Join(cfg.Dir, segmentName(1)))
		if err != nil || !slices.Equal(now, c) {
			t.Fatalf("byte %d: Open changed the damaged file (%v)", at, err)
		}
		report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
		if err != nil || !errors.Is(report.Err(), ErrCorrupt) {
			t.Fatalf("byte %d: verify says %v, %v", at, report.Err(), err)
		}
	}
}

// TestRecordOutOfPlaceIsRefused: every frame is valid and one record is missing.
func TestRecordOutOfPlaceIsRefused(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	c := slices.Clone(b[:frames[1].off])
	for _, fr := range frames[2:] {
		at := len(c)
		c = append(openFrame(c), fr.payload...)
		closeFrame(c, at)
		finish(c[at:], int64(at))
	}
	put(t, cfg, c)
	if _, err := Open(cfg); !errors.Is(err, ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
	report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err != nil || !slices.Equal(report.Gaps, []Gap{{2, 2}}) || len(report.Damage) != 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestReadNamesDamage: what went bad after Open is met when it is read.
func TestReadNamesDamage(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	put(t, cfg, b)
	j := mustOpen(t, cfg)
	c := slices.Clone(b)
	c[frames[2].off+20] ^= 1
	put(t, cfg, c)
	if got := mustRead(t, j, 1, 100); len(got) != 2 {
		t.Errorf("read %d records before the damage", len(got))
	}
	_, err := j.Read(3, 100)
	var got *Damage
	if !errors.As(err, &got) || got.Offset != frames[2].off {
		t.Errorf("read: %v", err)
	}
}

// TestFrameOfAnotherCommitIsRefused: a valid frame that says it was written by a
// commit which had ended before it.
func TestFrameOfAnotherCommitIsRefused(t *testing.T) {
	cfg := small(t)
	b, frames := crashed(t, cfg)
	c := slices.Clone(b)
	at := frames[3].off
	binary.BigEndian.PutUint32(c[at+4:], uint32(frames[0].off))
	binary.BigEndian.PutUint32(c[at+8:], checksum(c[at:at+8], frames[3].payload))
	put(t, cfg, c)
	_, err := Open(cfg)
	var got *Damage
	if !errors.As(err, &got) || got.Offset != at {
		t.Errorf("open: %v, want damage at %d", err, at)
	}
}
