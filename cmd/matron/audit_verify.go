package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/export/pack"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/verify"
	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// verifying is one run of "matron audit verify".
type verifying struct {
	key       string   // file
	witnesses []string // files
	config    string
	asJSON    bool
}

func newAuditVerify() *cobra.Command {
	var v verifying
	c := &cobra.Command{
		Use: "verify {FOLDER... | PACK.zip}", Short: "Check that the record is what was written",
		Long: "Reads a journal (with its second folder and archive, if there are any) or an evidence pack and\n" +
			"names every record that is missing, altered, moved or not what was signed. It needs no gateway\n" +
			"and changes nothing. With -c it takes the folders from the configuration, if none are given, and\n" +
			"compares every row of ClickHouse with the journal too.\n\n" +
			"The key says who signed: give the one that you have from the hospital, not the one that lies\n" +
			"beside what you check. The same holds for the keys of witnesses: with them, the checkpoint that they\n" +
			"have cosigned is demanded, which the gateway alone could not have made. With -c those of the\n" +
			"configuration are used. Exit code 5 when something is wrong with the record.",
		Example: "  matron audit verify /var/lib/matron/journal /var/lib/matron/archive --key checkpoint.pub\n" +
			"  matron audit verify /mnt/copy --key checkpoint.pub --witness w1.pub\n" +
			"  matron audit verify -c matron.yaml\n" +
			"  matron audit verify pack.zip --key checkpoint.pub --json",
	}
	c.Flags().StringVar(&v.key, "key", "", "public key of the log; default: checkpoint.pub beside the journal or in the pack")
	c.Flags().StringArrayVar(&v.witnesses, "witness", nil, "public key of a witness who must have cosigned; once for each")
	c.Flags().StringVarP(&v.config, "config", "c", "", "configuration file: compare with its ClickHouse as well")
	c.Flags().BoolVar(&v.asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && v.config == "":
			return failure{exitUsage, errors.New("name a journal folder or an evidence pack, or give -c")}
		case len(args) == 1 && v.config == "" && pack.IsPack(args[0]):
			return v.pack(c, args[0])
		}
		return v.journal(c, args)
	}
	return c
}

// pack verifies an evidence pack.
func (v *verifying) pack(c *cobra.Command, path string) error {
	key := ""
	if v.key != "" {
		text, err := os.ReadFile(v.key)
		if err != nil {
			return failure{exitFailure, err}
		}
		key = string(text)
	}
	r, err := pack.Verify(path, key)
	if err != nil {
		return failure{exitIntegrity, err}
	}
	if v.asJSON {
		err = json.NewEncoder(c.OutOrStdout()).Encode(r)
	} else {
		printPack(c.OutOrStdout(), r)
	}
	return verdict(err, r.Err())
}

func printPack(out io.Writer, r pack.Report) {
	m := r.Manifest
	_, _ = fmt.Fprintf(out, "Pack of %s, made %s by %s\n", m.Origin, m.MadeAt.UTC().Format("2 January 2006 at 15:04:05 MST"), m.MadeBy)
	_, _ = fmt.Fprintf(out, "%d records of %d accesses, out of the %d records %d to %d, all of which were read\n",
		r.Records, m.Accesses, m.Read.Records, m.Read.First, m.Read.Last)
	if r.KeyGiven {
		_, _ = fmt.Fprintf(out, "Key: %s\n", r.Key)
	} else {
		_, _ = fmt.Fprintf(out, "Key: %s\nNote: the key is the one in the pack. Compare it with the one that the hospital publishes, or give --key.\n", r.Key)
	}
	for _, p := range r.Problems {
		_, _ = fmt.Fprintf(out, "WRONG: %s: %s\n", p.File, p.What)
	}
	if len(r.Problems) == 0 {
		_, _ = fmt.Fprintln(out, "Every byte is as it was signed, and every record is proved.")
	}
}

// journal verifies folders, and ClickHouse when a configuration is given.
func (v *verifying) journal(c *cobra.Command, dirs []string) error {
	o := verify.Options{}
	var policy witness.Policy
	var cosigned bool
	if v.config != "" {
		cfg, _, err := load(v.config)
		if err != nil {
			return err
		}
		if len(dirs) == 0 {
			dirs = gateway.JournalDirs(cfg)
		}
		index, closeIndex, err := gateway.IndexToVerify(c.Context(), cfg)
		if err != nil {
			return failure{exitFailure, err}
		}
		defer closeIndex()
		o.Index = index
		if policy, cosigned, err = gateway.WitnessPolicy(cfg); err != nil {
			return failure{exitConfig, err}
		}
	}
	proofs, err := openProofs(dirs, v.key)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer proofs.close()
	o.Tree, o.Key, o.Checkpoints = proofs.tree, proofs.key, proofs.notes
	if len(v.witnesses) > 0 {
		policy, cosigned, err = v.named()
	}
	if err == nil && cosigned {
		o.Witnesses, err = demand(policy, proofs.keyText)
	}
	if err != nil {
		return failure{exitFailure, err}
	}
	shown := newBar(c.ErrOrStderr(), "verify")
	o.Scan = func(visit verify.Visit) (journal.Report, error) {
		return journal.Verify(journal.VerifyOptions{Dirs: dirs, Visit: visit, Progress: shown.set})
	}
	r, err := verify.Run(c.Context(), o)
	shown.close()
	switch {
	case errors.Is(err, context.Canceled):
		return failure{exitFailure, errors.New("stopped before the end: nothing is proved")}
	case errors.Is(err, journal.ErrMissing), errors.Is(err, fs.ErrNotExist):
		return failure{exitFailure, err}
	case err != nil:
		return failure{exitIntegrity, err}
	}
	if v.asJSON {
		err = json.NewEncoder(c.OutOrStdout()).Encode(r)
	} else {
		printReport(c.OutOrStdout(), r)
	}
	return verdict(err, r.Err())
}

// named reads the keys of the witnesses on the command line, all of whom must have
// cosigned.
func (v *verifying) named() (witness.Policy, bool, error) {
	var keys []witness.Verifier
	for _, file := range v.witnesses {
		key, err := witness.ReadVerifier(file, witness.WitnessKey)
		if err != nil {
			return witness.Policy{}, false, err
		}
		keys = append(keys, key)
	}
	policy, err := witness.Quorum(nil, keys, len(keys))
	return policy, true, err
}

// demand is the check that the log has signed a note and enough witnesses have.
func demand(policy witness.Policy, logKey string) (func([]byte) error, error) {
	if logKey == "" {
		return nil, errors.New("there is no checkpoint.pub beside the journal: give --key")
	}
	key, err := witness.NewVerifier(logKey, witness.LogKey)
	if err != nil {
		return nil, err
	}
	policy.Logs = append(policy.Logs, witness.PolicyLog{Key: key})
	return func(signed []byte) error {
		_, _, err := policy.Verify(signed)
		return err
	}, nil
}

// verdict is the exit code of what was printed.
func verdict(printing, found error) error {
	switch {
	case printing != nil:
		return failure{exitFailure, printing}
	case found != nil:
		return failure{exitIntegrity, found}
	}
	return nil
}

func printReport(out io.Writer, r verify.Report) {
	j := r.Journal
	_, _ = fmt.Fprintf(out, "%s: %d records, %d to %d, in %d segments\n", j.Source, j.Records, j.First, j.Last, j.Segments)
	for _, kind := range slices.Sorted(maps.Keys(j.Kinds)) {
		_, _ = fmt.Fprintf(out, "  %-18s %d\n", kind, j.Kinds[kind])
	}
	if r.Checkpoints > 0 {
		_, _ = fmt.Fprintf(out, "%d signed checkpoints agree, the last of them over %d records\n", r.Checkpoints, r.Signed)
	}
	if r.Cosigned > 0 {
		_, _ = fmt.Fprintf(out, "Witnesses have cosigned a checkpoint over %d records\n", r.Cosigned)
	}
	if r.Rows > 0 {
		_, _ = fmt.Fprintf(out, "%d rows of ClickHouse compared\n", r.Rows)
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintln(out, "Note: "+n)
	}
	for _, f := range r.Findings {
		_, _ = fmt.Fprintln(out, "WRONG: "+f.String())
	}
	if r.More > 0 {
		_, _ = fmt.Fprintf(out, "WRONG: and %d findings more\n", r.More)
	}
	if len(r.Findings) == 0 {
		_, _ = fmt.Fprintln(out, "Nothing is wrong.")
	}
}

// proofs is what lies beside a journal to check it with.
type proofs struct {
	tree    *merkle.Tree
	key     note.Verifier
	keyText string
	notes   []verify.Note
}

func (p proofs) close() {
	if p.tree != nil {
		_ = p.tree.Close()
	}
}

// openProofs finds the hash tree, the checkpoints and the key among the folders
// of a journal. None of them is required.
func openProofs(dirs []string, keyFile string) (proofs, error) {
	var p proofs
	for _, dir := range dirs {
		if keyFile == "" {
			if file := filepath.Join(dir, gateway.PublicKeyName); exists(file) {
				keyFile = file
			}
		}
		if p.tree == nil && exists(journal.TreeDir(dir)) {
			tree, err := merkle.View(journal.TreeDir(dir))
			if err != nil {
				return p, err
			}
			p.tree = tree
		}
		if err := p.readNotes(dir); err != nil {
			return p, errors.Join(err, fmt.Errorf("what lies in %s cannot be read", dir))
		}
	}
	if keyFile == "" {
		return p, nil
	}
	text, err := os.ReadFile(keyFile) //nolint:gosec // the operator names the file
	if err != nil {
		return p, err
	}
	if p.key, err = merkle.ParseVerifier(text); err != nil {
		return p, fmt.Errorf("%s: %w", keyFile, err)
	}
	p.keyText = strings.TrimSpace(string(text))
	return p, nil
}

func (p *proofs) readNotes(dir string) error {
	cosigned := gateway.CosignedFile(dir)
	for _, file := range []string{journal.CheckpointFile(dir), cosigned} {
		text, err := os.ReadFile(file) //nolint:gosec // the operator names the folder
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.notes = append(p.notes, verify.Note{Name: filepath.Base(file), Text: text, Cosigned: file == cosigned})
	}
	file := journal.HistoryFile(dir)
	if !exists(file) {
		return nil
	}
	history, err := journal.ReadLedger(file)
	for i, text := range history {
		p.notes = append(p.notes, verify.Note{Name: fmt.Sprintf("%s entry %d", filepath.Base(file), i+1), Text: text})
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkpoint is the newest that the key has signed.
func (p proofs) checkpoint() (merkle.Checkpoint, []byte, error) {
	var best merkle.Checkpoint
	var text []byte
	for _, n := range p.notes {
		c, err := merkle.OpenCheckpoint(n.Text, p.key)
		if err != nil {
			return best, nil, fmt.Errorf("%s: %w", n.Name, err)
		}
		if text == nil || c.Size > best.Size {
			best, text = c, n.Text
		}
	}
	if text == nil {
		return best, nil, errors.New("there is no signed checkpoint")
	}
	return best, text, nil
}
