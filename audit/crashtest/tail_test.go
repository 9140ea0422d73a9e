package crashtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// victim is a file whose tail is damaged, and what opening it then gives. Its
// frames are found as docs/journal-format.md has them, not by the code under
// test.
type victim struct {
	path     string
	whole    []byte // the bytes as a crash leaves them
	contents [][]byte
	frames   []span // where each stands
	commits  []int  // first frame of each group commit
	open     func() ([][]byte, error)
}

type span struct{ from, to int }

// TestTailIsDamagedAtEveryByteAndBit cuts the file at each byte of its last two
// group commits and flips each bit of them. What was written comes back, or a
// shorter run of it from the beginning, or an error that names the place: never
// anything else, and after a flipped bit never less than all commits but the
// last.
func TestTailIsDamagedAtEveryByteAndBit(t *testing.T) {
	for name, create := range map[string]func(*testing.T) *victim{"segment": segmentVictim, "ledger": ledgerVictim} {
		t.Run(name, func(t *testing.T) {
			v := create(t)
			n := len(v.commits)
			from, to := v.frames[v.commits[n-2]].from, v.frames[len(v.frames)-1].to
			cut := begin(t, name+": file ends at each byte of the tail", "")
			for at := from; at < to; at++ {
				cut.trial(v.damaged(t, v.whole[:at], at, at))
			}
			flip := begin(t, name+": each bit of the tail flipped", "")
			for at := from; at < to; at++ {
				for bit := range 8 {
					flip.trial(v.damaged(t, flipped(v.whole, at, bit), v.frames[v.commits[n-1]].from, at))
				}
			}
			v.planted(t, name)
		})
	}
}

// planted shows that these trials see a reader without checksums and one that
// cuts damage away wherever it stands.
func (v *victim) planted(t *testing.T, name string) {
	last := v.frames[v.commits[len(v.commits)-1]].from
	before := v.frames[v.commits[len(v.commits)-2]]
	unchecked := begin(t, name+": each bit of the tail flipped", "checksums ignored")
	unchecked.until(8, func(n int) error {
		b := flipped(v.whole, before.to-1-n, 0)
		sum(b[before.from:before.to]) // as if it had never been checked
		return v.damaged(t, b, last, before.from)
	})
	cutting := begin(t, name+": each bit of the tail flipped", "damage is cut away like a torn write")
	cutting.until(1, func(int) error { return v.damaged(t, v.whole[:before.from], last, before.from) })
}

func flipped(b []byte, at, bit int) []byte {
	c := slices.Clone(b)
	c[at] ^= 1 << bit
	return c
}

// sum enters the checksum of a frame.
func sum(frame []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(frame[8:], crc32.Update(crc32.Checksum(frame[:8], table), table, frame[12:]))
}

// damaged opens the file with other bytes in it. All that ends before safe was
// synced before the damage, and nothing may be named that lies behind at.
func (v *victim) damaged(t *testing.T, b []byte, safe, at int) error {
	t.Helper()
	if err := os.WriteFile(v.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := v.open()
	if err != nil {
		var named *journal.Damage
		if !errors.As(err, &named) || named.File != filepath.Base(v.path) || named.Offset > int64(at) {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		if now, err := os.ReadFile(v.path); err != nil || !bytes.Equal(now, b) {
			return fmt.Errorf("byte %d: the damaged file was changed (%w)", at, err)
		}
		return nil
	}
	kept := 0
	for _, f := range v.frames {
		if f.to <= safe {
			kept++
		}
	}
	if len(got) < kept || len(got) > len(v.contents) {
		return fmt.Errorf("byte %d: %d entries came back of %d, of which %d were synced before", at, len(got), len(v.contents), kept)
	}
	for i := range got {
		if !bytes.Equal(got[i], v.contents[i]) {
			return fmt.Errorf("byte %d: entry %d is not what was written", at, i+1)
		}
	}
	return nil
}

// dissect finds the frames: length, commit, checksum, payload.
func (v *victim) dissect(t *testing.T, head int) *victim {
	t.Helper()
	for off := head; off+12 <= len(v.whole); {
		n := int(binary.BigEndian.Uint32(v.whole[off:]))
		if n == 0 {
			break
		}
		if int(binary.BigEndian.Uint32(v.whole[off+4:])) == off {
			v.commits = append(v.commits, len(v.frames))
		}
		v.frames = append(v.frames, span{off, off + 12 + n})
		v.contents = append(v.contents, v.whole[off+12:off+12+n])
		off += 12 + n
	}
	if len(v.commits) < 3 || len(v.frames) != len(v.contents) {
		t.Fatalf("%d commits, %d frames", len(v.commits), len(v.frames))
	}
	return v
}

// memory is a folder where a sync costs nothing: these trials are about bytes.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "matron-") //nolint:usetesting // on purpose elsewhere
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// segmentVictim is a journal that was not closed: three commits of one, three
// and two records, and reserved room behind them.
func segmentVictim(t *testing.T) *victim {
	t.Helper()
	cfg := journalConfig(memory(t), 4096)
	if err := journal.Create(cfg); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{1, 3, 2} {
		if err := appendOne(j, false, events(uint64(10*i+1), n)); err != nil {
			t.Fatal(err)
		}
	}
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	v := &victim{path: segments[0]}
	if v.whole, err = os.ReadFile(v.path); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	v.open = func() ([][]byte, error) {
		report, err := verify(cfg.Dir)
		if err != nil {
			return nil, err
		}
		j, err := journal.Open(cfg)
		if (err == nil) != (report.Err() == nil) {
			return nil, fmt.Errorf("open says %w, verify %w", err, report.Err())
		}
		if err != nil {
			return nil, err
		}
		records, err := j.Read(1, 100)
		return encoded(records), errors.Join(err, j.Close())
	}
	return v.dissect(t, 128)
}

func encoded(records []audit.Record) [][]byte {
	list := make([][]byte, len(records))
	for i := range records {
		list[i] = records[i].MarshalCanonical()
	}
	return list
}

// ledgerVictim is a ledger of four entries.
func ledgerVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{path: filepath.Join(memory(t), "blocks")}
	l, _, err := journal.OpenLedger(v.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := l.Append([]byte(fmt.Sprintf(`{"v":1,"kind":"block","first":%d}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if v.whole, err = os.ReadFile(v.path); err != nil {
		t.Fatal(err)
	}
	v.open = func() ([][]byte, error) {
		l, entries, err := journal.OpenLedger(v.path)
		if err != nil {
			return nil, err
		}
		return entries, l.Close()
	}
	return v.dissect(t, 8)
}
