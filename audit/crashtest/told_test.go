package crashtest

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// told is what drivers said to have been acknowledged.
type told struct {
	pid     int
	acked   map[uint64]string // leaf by seq
	added   map[uint64]string // durable once the journal is closed
	entries []string          // of the ledger
	refused []string
	created bool              // something was acknowledged, so that there must be a journal
	checks  uint64            // how often it was checked
	cut     atomic.Bool       // the power is off: what is heard now proves nothing
	late    map[uint64]string // acked after the cut; a real one would have silenced the driver
	done    bool
	shipped uint64 // everything up to here is in ClickHouse
}

func newTold() *told {
	return &told{acked: map[uint64]string{}, added: map[uint64]string{}, late: map[uint64]string{}}
}

// hear takes in one line of a driver.
func (d *told) hear(text string) error {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "pid":
		d.pid, _ = strconv.Atoi(rest)
		clear(d.added) // of a driver that is gone: nobody promised anything
		clear(d.late)
	case "ack", "add":
		number, leaf, _ := strings.Cut(rest, " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return fmt.Errorf("driver said %q", text)
		}
		if word == "add" {
			d.added[seq] = leaf
			return nil
		}
		if d.cut.Load() {
			d.late[seq] = leaf
			return nil
		}
		return d.ack(seq, leaf)
	case "closed":
		for seq, leaf := range d.added {
			if err := d.ack(seq, leaf); err != nil {
				return err
			}
		}
	case "entry":
		d.entries = append(d.entries, rest)
	case "refused":
		d.refused = append(d.refused, rest)
		if strings.HasPrefix(rest, "close") || strings.HasPrefix(rest, "append") {
			clear(d.added) // a journal that failed promises nothing more
		}
	case "shipped":
		d.shipped, _ = strconv.ParseUint(rest, 10, 64)
	case "done":
		d.done = true
	default:
		return fmt.Errorf("driver said %q", text)
	}
	return nil
}

func (d *told) ack(seq uint64, leaf string) error {
	if was, ok := d.acked[seq]; ok && was != leaf {
		return fmt.Errorf("number %d was acknowledged for two records", seq)
	}
	d.acked[seq], d.created = leaf, true
	return nil
}

// listen hears a driver until it ends.
func (d *told) listen(r io.Reader, heard func()) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := d.hear(lines.Text()); err != nil {
			return err
		}
		heard()
	}
	return lines.Err()
}

// verify is the only place that names the verifier.
func verify(dir string) (journal.Report, error) {
	return journal.Verify(journal.VerifyOptions{Dirs: []string{dir}})
}

// check opens what a crash left of the journal and the ledger in dir and says
// what of them is not as it must be: everything acknowledged there and
// identical, everything else absent or whole, nothing twice, no gap, and ready
// to go on.
func (d *told) check(dir string) error {
	cfg := journalConfig(dir, 1<<16)
	report, err := verify(cfg.Dir)
	missing := errors.Is(err, journal.ErrMissing) || errors.Is(err, os.ErrNotExist)
	if missing && !d.created {
		return errors.Join(create(cfg), d.ledger(dir))
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	j, err := journal.Open(cfg)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := errors.Join(d.records(j, report), j.Close()); err != nil {
		return err
	}
	if report, err = verify(cfg.Dir); err != nil || report.Err() != nil || report.Torn != 0 {
		return fmt.Errorf("verify afterwards: %+v: %w", report, err)
	}
	return d.ledger(dir)
}

// create is what an operator does after a crash that left nothing.
func create(cfg journal.Config) error {
	if err := journal.Create(cfg); err != nil {
		return fmt.Errorf("create again: %w", err)
	}
	return nil
}

// records compares what the journal holds with what was said, and appends one.
func (d *told) records(j *journal.Journal, report journal.Report) error {
	last := j.Committed()
	all, err := j.Read(1, int(last)+1)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if report.Records != last || uint64(len(all)) != last {
		return fmt.Errorf("committed %d, verified %d, read %d", last, report.Records, len(all))
	}
	requests := map[string]bool{}
	for i := range all {
		r := &all[i]
		if err := genuine(r, uint64(i+1)); err != nil {
			return err
		}
		if requests[r.Request] {
			return fmt.Errorf("record %d stands twice", r.Seq)
		}
		requests[r.Request] = true
		leaf := audit.Leaf(r.MarshalCanonical())
		want, ok := d.acked[r.Seq]
		if late, was := d.late[r.Seq]; was && !ok {
			want, ok = late, true
		}
		if ok && want != hex.EncodeToString(leaf[:]) {
			return fmt.Errorf("record %d is not the one that was acknowledged", r.Seq)
		}
	}
	for seq := range d.acked {
		if seq > last {
			return fmt.Errorf("record %d was acknowledged and is lost: the last is %d", seq, last)
		}
	}
	d.checks++
	after := event(1<<60 + d.checks) // no driver comes this far
	if err := appendOne(j, false, []*audit.Record{after}); err != nil || after.Seq != last+1 {
		return fmt.Errorf("append after record %d: got number %d: %w", last, after.Seq, err)
	}
	return nil
}

// genuine says whether r is a record that a driver made, at its place.
func genuine(r *audit.Record, place uint64) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(r.Request, "r"), 10, 64)
	if err != nil || r.Seq != place {
		return fmt.Errorf("record %d of request %q stands at place %d", r.Seq, r.Request, place)
	}
	want := event(n)
	want.Site, want.Source, want.Seq, want.Nonce = "RBA", source, r.Seq, r.Nonce
	if string(want.MarshalCanonical()) != string(r.MarshalCanonical()) {
		return fmt.Errorf("record %d is not one that was written", r.Seq)
	}
	return nil
}

// ledger compares the ledger's entries with what was said.
func (d *told) ledger(dir string) error {
	l, entries, err := journal.OpenLedger(ledgerPath(dir))
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer l.Close() //nolint:errcheck // nothing was written to it
	found, last := map[string]bool{}, 0
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimPrefix(string(e), "entry-"))
		if err != nil || n <= last {
			return fmt.Errorf("ledger holds %q after entry %d", e, last)
		}
		last = n
		found[string(e)] = true
	}
	for _, e := range d.entries {
		if !found[e] {
			return fmt.Errorf("ledger %s was acknowledged and is lost", e)
		}
	}
	return nil
}
