package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// importing is one run of "matron audit import".
type importing struct {
	config    string
	format    string
	mapping   string
	source    string
	dryRun    bool
	keepLines bool
	asJSON    bool

	cfg    config.Config
	hasher pseudonym.Hasher
	store  history.Store // nil: a dry run that cannot ask
	by     string
}

func newAuditImport() *cobra.Command {
	var i importing
	var schema bool
	c := &cobra.Command{
		Use: "import FILE...", Short: "Take in past accesses that another system wrote down",
		Long: `Takes in accesses of the past: NDJSON in the form of "--schema", FHIR R4 AuditEvents
(one resource or Bundle a line), or CSV with a mapping file. Plain or compressed with
zstd; "-" reads standard input. They stay apart from what the gateway has witnessed.

Running it again takes in nothing twice: an access is known by its id within its source
and patient. One that comes again with other content is rejected. After an interruption
run the same command again.

NHS numbers are kept as keyed hashes only, and so is the value of any unknown field whose
name speaks of a name, an address or a number of a person. Other unknown fields are kept.

Rejected lines go to FILE.rejects.ndjson with line number and reason. Each run writes that
file anew, and there is none when nothing was rejected. With --keep-lines it holds the
lines themselves, which are patient data.

Exit code 0 when every line is in, 1 when a line was rejected or the run was cut short.`,
		Example: "  matron audit import 2024.ndjson.zst -c matron.yaml\n" +
			"  matron audit import pas.csv --mapping pas.yaml --source pas --dry-run\n" +
			"  zcat events.ndjson.gz | matron audit import - --format fhir --json\n" +
			"  matron audit import --schema > accesses.schema.json",
		Args: func(c *cobra.Command, args []string) error {
			if schema {
				return cobra.NoArgs(c, args)
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
	}
	c.Flags().StringVarP(&i.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&i.format, "format", "", "accesses, fhir or csv (default: by content)")
	c.Flags().StringVar(&i.mapping, "mapping", "", "YAML file that says which CSV column is what")
	c.Flags().StringVar(&i.source, "source", "", "system that wrote the accesses down, for lines that name none")
	c.Flags().BoolVar(&i.dryRun, "dry-run", false, "check everything and write rejects only")
	c.Flags().BoolVar(&i.keepLines, "keep-lines", false, "put the text of rejected lines into the reject file")
	c.Flags().BoolVar(&i.asJSON, "json", false, "print a summary of each file as one JSON object a line")
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of an accesses line")
	c.RunE = func(c *cobra.Command, args []string) error {
		if schema {
			_, err := io.WriteString(c.OutOrStdout(), history.Schema)
			return err
		}
		return i.run(c, args)
	}
	return c
}

func (i *importing) run(c *cobra.Command, files []string) error {
	switch history.Format(i.format) {
	case "", history.Accesses, history.FHIR, history.CSV:
	default:
		return fmt.Errorf("--format %q is none of accesses, fhir, csv", i.format)
	}
	var err error
	if i.cfg, _, err = load(i.config); err != nil {
		return err
	}
	var mapping *history.Mapping
	if i.mapping != "" {
		if mapping, err = loadMapping(i.mapping); err != nil {
			return failure{exitConfig, err}
		}
	}
	if i.hasher, err = gateway.Hasher(i.cfg); err != nil {
		return failure{exitFailure, err}
	}
	if i.by, err = operator(i.cfg.DataDir); err != nil {
		return failure{exitFailure, err}
	}
	tuneMemory()
	release, err := i.connect(c)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer release()
	whole := true
	for _, file := range files {
		complete, err := i.file(c, file, mapping)
		if err != nil {
			return failure{exitFailure, err}
		}
		whole = whole && complete
	}
	if !whole {
		return failure{exitFailure, errors.New("")} // the summaries have said why
	}
	return nil
}

// loadMapping reads a mapping file; the error holds every mistake with its place.
func loadMapping(path string) (*history.Mapping, error) {
	src, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	m := new(history.Mapping)
	doc := strictyaml.Decode(path, src, m)
	for _, p := range m.Validate() {
		doc.Report(p.Path, p.Text)
	}
	return m, doc.Err()
}

// connect opens the index and makes sure that this is the only import: two at
// once could each find that an access is not there yet.
func (i *importing) connect(c *cobra.Command) (release func(), err error) {
	lock, err := os.OpenFile(filepath.Join(i.cfg.DataDir, "import.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock imports: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another import is running: wait for it"), lock.Close())
	}
	store, err := gateway.OpenIndex(c.Context(), i.cfg)
	if err == nil {
		if err = store.Migrate(c.Context()); err == nil {
			i.store = store
			return func() { _, _ = store.Close(), lock.Close() }, nil
		}
		err = errors.Join(err, store.Close())
	}
	if !i.dryRun {
		return nil, errors.Join(err, lock.Close())
	}
	c.PrintErrln("The index is not there: what was imported before is not compared.")
	return func() { _ = lock.Close() }, nil
}

// outcome is what a script reads of one file.
type outcome struct {
	File    string `json:"file"`
	Batch   string `json:"batch"`
	DryRun  bool   `json:"dry_run"`
	Rejects string `json:"rejects,omitempty"` // the reject file
	history.Summary
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// file takes in one file and reports whether every line of it is in.
func (i *importing) file(c *cobra.Command, path string, mapping *history.Mapping) (whole bool, err error) {
	in, name, size, err := openImport(c, path)
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }()
	began := time.Now()
	run := audit.Import{
		Batch: batchName(began), File: string(i.hasher.Of("file", filepath.Base(name))), At: began.UTC().Truncate(time.Microsecond), By: i.by,
	}
	out := outcome{File: path, Batch: run.Batch, DryRun: i.dryRun}
	if err := i.evidence(run, "begun"); err != nil {
		return false, err
	}
	rejects := &intake.RejectFile{Path: name + ".rejects.ndjson"}
	sum := sha256.New()
	read := io.TeeReader(in, sum)
	progress := new(history.Progress)
	stop := showProgress(c.ErrOrStderr(), name, progress, size)
	out.Summary, err = history.Import(c.Context(), history.Config{
		Format: history.Format(i.format), Mapping: mapping, Site: i.cfg.Site, Source: i.source, Hasher: i.hasher, Import: run,
		Store: i.store, DryRun: i.dryRun, Rejects: rejects.Add, KeepLines: i.keepLines, Progress: progress,
	}, read)
	if err == nil {
		_, err = io.Copy(io.Discard, read) // what nobody could take in has a part in the hash too
	}
	stop()
	out.Seconds = time.Since(began).Seconds()
	out.Rejects, err = rejects.Close(err)
	if failed := i.evidence(run, ending(err), out.details(sum, err)...); failed != nil {
		return false, errors.Join(err, failed)
	}
	if err != nil {
		out.Error = err.Error()
	}
	i.print(c, out, err)
	return err == nil && out.Rejected == 0, nil
}

// openImport opens a file, or standard input for "-". size is 0 when nobody knows.
func openImport(c *cobra.Command, path string) (in io.ReadCloser, name string, size int64, err error) {
	if path == "-" {
		return interruptible(c.Context(), c.InOrStdin()), "stdin", 0, nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, "", 0, fmt.Errorf("open import: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, path, size, nil
}

func ending(err error) string {
	if err != nil {
		return "cut-short"
	}
	return "ended"
}

// details is what the record of an import says of how it ended. A file has a
// hash when all of it was read.
func (o *outcome) details(sum hash.Hash, err error) []string {
	d := []string{
		"format=" + string(o.Format), fmt.Sprintf("lines=%d", o.Lines), fmt.Sprintf("imported=%d", o.Imported),
		fmt.Sprintf("known=%d", o.Known), fmt.Sprintf("rejected=%d", o.Rejected), fmt.Sprintf("rows=%d", o.Rows),
	}
	if err == nil {
		d = append(d, "sha256="+hex.EncodeToString(sum.Sum(nil)))
	}
	return d
}

// batchName sorts by time.
func batchName(at time.Time) string {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	return at.UTC().Format("20060102T150405-") + hex.EncodeToString(unique[:])
}

// evidence leaves a record for the gateway: who brought in what. It is left
// before the first row as well, so that an import that is killed is no secret.
func (i *importing) evidence(run audit.Import, stage string, details ...string) error {
	if i.dryRun {
		return nil
	}
	return spool.Put(gateway.SpoolDir(i.cfg), &audit.Record{
		Time: time.Now().UTC().Truncate(time.Microsecond), Kind: audit.KindImport, App: "matron", UserName: run.By,
		Detail: append([]string{"stage=" + stage, "batch=" + run.Batch, "file=" + run.File}, details...),
	})
}

func (i *importing) print(c *cobra.Command, o outcome, err error) {
	if i.asJSON {
		_ = json.NewEncoder(c.OutOrStdout()).Encode(o) // as any print
	}
	verb := "imported"
	if i.dryRun {
		verb = "would be imported"
	}
	c.PrintErrf("%s: %d lines (%s): %d %s as %d rows, %d were in already, %d rejected\n",
		o.File, o.Lines, o.Format, o.Imported, verb, o.Rows, o.Known, o.Rejected)
	if o.Rejects != "" {
		c.PrintErrf("Rejected lines and reasons: %s\n", o.Rejects)
	}
	if len(o.Unknown) > 0 {
		c.PrintErrf("Fields that the format does not have were kept: %s\n", strings.Join(o.Unknown, ", "))
	}
	switch {
	case errors.Is(err, context.Canceled):
		c.PrintErrln("Stopped. What is in stays; run the same command again to go on.")
	case err != nil:
		c.PrintErrf("Cut short: %v\nWhat is in stays; put it right and run the same command again.\n", err)
	}
}
