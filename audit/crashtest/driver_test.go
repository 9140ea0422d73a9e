package crashtest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// A driver is what a child process does until it ends or is killed. It says on
// its standard output what was acknowledged to it, line by line:
//
//	pid N                 at first
//	ack SEQ LEAF          this record is durable
//	add SEQ LEAF          this record is durable once the journal is closed
//	closed                the journal is closed
//	entry TEXT            this ledger entry is durable
//	refused WHAT: ERROR   something was not done
//	done                  at last
const (
	scriptDriver = "crash-script" // DIR: a journal's and a ledger's life, one step at a time
	loadDriver   = "crash-load"   // DIR ROUND [early]: appends from several goroutines
	shipDriver   = "crash-ship"   // DIR ADDR USER PASSWORD ROUND: appends and ships
)

func drivers() map[string]func([]string) {
	return map[string]func([]string){scriptDriver: script, loadDriver: load, shipDriver: ship}
}

const source = "gw1"

// journalConfig is a journal of small segments, so that several are made.
func journalConfig(dir string, segment int64) journal.Config {
	return journal.Config{
		Dir: filepath.Join(dir, "journal"), Source: source, Site: "RBA",
		Now: time.Now, SegmentBytes: segment, AppendTimeout: time.Minute,
	}
}

func ledgerPath(dir string) string { return filepath.Join(dir, "journal", "blocks") }

// event is record number n of a trial: everything in it follows from n, so that
// a record that is read can be told from a wrong one. The times cross the end of
// a month and with it of a ClickHouse partition.
func event(n uint64) *audit.Record {
	return &audit.Record{
		Kind: audit.KindDecision, Time: time.Date(2026, 10, 31, 23, 59, 0, 0, time.UTC).Add(time.Duration(n%12_000) * 10 * time.Millisecond),
		Request: "r" + strconv.FormatUint(n, 10), App: "epr", Action: "read", Area: "notes",
		Patient: fmt.Sprintf("P%d", n%50), Person: fmt.Sprintf("N%d", n%7), Roles: []string{"nurse"}, Effect: "allow",
	}
}

func events(first uint64, n int) []*audit.Record {
	list := make([]*audit.Record, n)
	for i := range list {
		list[i] = event(first + uint64(i))
	}
	return list
}

// line is one whole write, which a kill cannot cut.
func line(format string, args ...any) {
	_, _ = os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

// lines says a word of each record.
func lines(word string, records []*audit.Record) []string {
	list := make([]string, len(records))
	for i, r := range records {
		leaf := audit.Leaf(r.MarshalCanonical())
		list[i] = fmt.Sprintf("%s %d %s", word, r.Seq, hex.EncodeToString(leaf[:]))
	}
	return list
}

func say(word string, records ...*audit.Record) {
	_, _ = os.Stdout.WriteString(strings.Join(lines(word, records), "\n") + "\n")
}

func refused(what string, err error) {
	line("refused %s: %v", what, strings.ReplaceAll(err.Error(), "\n", "; "))
}

// script is deterministic: the same file calls in the same order every time.
func script(args []string) {
	line("pid %d", os.Getpid())
	dir := args[0]
	early := len(args) > 1 && args[1] == "early"
	next := uint64(1)
	for session := range 2 {
		sessionOf(dir, session, early, &next)
	}
	entry := 0
	for range 2 {
		ledgerSession(dir, &entry)
	}
	line("done")
}

func sessionOf(dir string, session int, early bool, next *uint64) {
	cfg := journalConfig(dir, 1500)
	if err := journal.Create(cfg); err != nil && !errors.Is(err, journal.ErrExists) {
		refused("create", err)
	}
	j, err := journal.Open(cfg)
	if err != nil {
		refused("open", err)
		return
	}
	for i := range 5 {
		if i%2 == session {
			added := event(*next)
			*next++
			if err := j.Add(added); err != nil {
				refused("add", err)
				break
			}
			say("add", added)
		}
		records := events(*next, 1+i%3)
		*next += uint64(len(records))
		if early {
			if err := j.Add(records...); err != nil {
				refused("append", err)
				break
			}
			say("ack", records...)           // the bug: nobody waited for the disk
			time.Sleep(3 * time.Millisecond) // so that there is more than one commit
			continue
		}
		if _, err := j.Append(context.Background(), records...); err != nil {
			refused("append", err)
			break
		}
		say("ack", records...)
	}
	if _, err := j.Read(1, 100); err != nil {
		refused("read", err)
	}
	if err := j.Close(); err != nil {
		refused("close", err)
		return
	}
	line("closed")
}

func ledgerSession(dir string, entry *int) {
	l, _, err := journal.OpenLedger(ledgerPath(dir))
	if err != nil {
		refused("open ledger", err)
		return
	}
	for range 3 {
		*entry++
		text := fmt.Sprintf("entry-%d", *entry)
		if err := l.Append([]byte(text)); err != nil {
			refused("append to ledger", err)
			break
		}
		line("entry %s", text)
	}
	if err := l.Close(); err != nil {
		refused("close ledger", err)
	}
}

// load appends until it is killed, its parent is, or the disk fails.
func load(args []string) {
	go endWithParent()
	line("pid %d", os.Getpid())
	j, err := journal.Open(journalConfig(args[0], 1<<16))
	if err != nil {
		refused("open", err)
		return
	}
	appendForEver(j, args[1], len(args) > 2 && args[2] == "early")
}

func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// appendForEver appends records that no other round does.
func appendForEver(j *journal.Journal, round string, early bool) {
	var next atomic.Uint64
	number, _ := strconv.ParseUint(round, 10, 16)
	next.Store(number << 32)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for {
				n := 1 + w%3
				records := events(next.Add(uint64(n))-uint64(n)+1, n)
				if err := appendOne(j, early, records); err != nil {
					refused("append", err)
					return
				}
				say("ack", records...)
			}
		})
	}
	writers.Wait()
}

// appendOne appends as a gateway must, or, with the bug early, does not wait.
func appendOne(j *journal.Journal, early bool, records []*audit.Record) error {
	if early {
		err := j.Add(records...)
		time.Sleep(time.Millisecond) // or the queue would fill up at once
		return err
	}
	_, err := j.Append(context.Background(), records...)
	return err
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
