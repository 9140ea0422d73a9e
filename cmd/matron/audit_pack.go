package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/pack"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// pack writes an evidence pack. It reads the journal from beginning to end and
// never asks ClickHouse, from which an administrator could have deleted.
func (e *exporting) pack(ctx context.Context, out io.Writer) error {
	f, ok := out.(*os.File)
	if !ok {
		return errors.New("a pack is a file")
	}
	q := pack.Question{
		Patient: e.query.Patient, NHSNumber: e.query.NHSNumber, Person: e.query.Person, Case: e.caseID,
		From: e.query.From, To: e.query.To,
	}
	if e.caseID != "" {
		var err error
		if q.Seqs, e.others, err = gateway.CaseRecords(ctx, e.cfg, e.caseID); err != nil {
			return err
		}
		if len(q.Seqs) == 0 && len(e.others) > 0 {
			return fmt.Errorf("the case rests on records of %s alone: make the pack there", strings.Join(e.others, ", "))
		}
	}
	signer, err := gateway.CheckpointSigner(e.cfg)
	if err != nil {
		return err
	}
	dirs := gateway.JournalDirs(e.cfg)
	found, err := e.collect(ctx, dirs, q)
	if err != nil {
		return err
	}
	entries := found.Entries()
	p, cp, note, err := e.covered(ctx, dirs, entries)
	if err != nil {
		return err
	}
	defer p.close()
	first, last, records := found.Read()
	key, err := os.ReadFile(gateway.PublicKeyFile(e.cfg))
	if err != nil {
		return err
	}
	e.n = len(entries)
	return pack.Write(f, pack.Contents{
		Question: q, Entries: entries, Read: pack.Read{First: first, Last: last, Records: records},
		MadeAt: time.Now(), MadeBy: e.by, Program: "matron " + version, Site: e.cfg.Site, Source: e.cfg.Source, Location: e.zone,
		Checkpoint: cp, Note: note, Key: strings.TrimSpace(string(key)), Prove: p.tree.Prove,
		Progress: func(done, total int) { e.shown.set(int64(done), int64(total)) },
	}, signer)
}

// collect reads the whole journal. A journal that is damaged answers no question:
// what is missing could be part of the answer.
func (e *exporting) collect(ctx context.Context, dirs []string, q pack.Question) (*pack.Collector, error) {
	found := pack.NewCollector(q)
	report, err := journal.Verify(journal.VerifyOptions{
		Dirs: dirs, Progress: e.shown.set,
		Visit: func(seq uint64, canonical []byte, r *audit.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return found.Visit(seq, canonical, r)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("%w; run \"matron audit verify\" first", err)
	}
	return found, nil
}

// covered opens the hashes of the journal once a signed checkpoint covers the
// last record of the pack, which the next second brings while a gateway runs.
func (e *exporting) covered(ctx context.Context, dirs []string, entries []pack.Entry) (proofs, merkle.Checkpoint, []byte, error) {
	var last uint64
	if n := len(entries); n > 0 {
		last = entries[n-1].Seq
	}
	for wait := 0; ; wait++ {
		p, cp, note, err := openSigned(dirs, gateway.PublicKeyFile(e.cfg))
		if err != nil || cp.Size >= last {
			return p, cp, note, err
		}
		p.close()
		if wait == 20 {
			return p, cp, nil, fmt.Errorf("the last checkpoint covers %d records, not yet record %d: is the gateway running?", cp.Size, last)
		}
		select {
		case <-ctx.Done():
			return p, cp, nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
