package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/export/auditevent"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// The formats of an export.
const formatFHIR = "fhir-ndjson"

// exportPage is how many events are read at once.
const exportPage = 1000

// export is what every format of an export needs.
type export struct {
	config, format, out string
	from, to            string
	query               audit.Query
	progress            *progress
}

func newAuditExport() *cobra.Command {
	var e export
	c := &cobra.Command{
		Use: "export", Short: "Hand the record of a patient or a person to another system", Args: cobra.NoArgs,
		Long: "Writes what the record has of one patient, or of one member of staff: accesses and refusals,\n" +
			"sign-ins, break-glass and every look at the record itself, newest first.\n\n" +
			"Format fhir-ndjson: one FHIR R4 AuditEvent a line (IHE Basic Audit Log Patterns). The id of\n" +
			"an event, such as gw1-123, names its record in the journal.\n\n" +
			"A day counts from its first to its last moment in the hospital's time zone. The file is made\n" +
			"for its owner alone and never overwrites another.",
		Example: "  matron audit export --format fhir-ndjson --patient P0042 --out p0042.ndjson\n" +
			"  matron audit export --nhs-number \"999 000 0018\" --from 2026-11-01 --to 2026-11-30 > november.ndjson\n" +
			"  matron audit export --user S0007 --from 2026-11-25T08:00:00Z | jq -r .recorded",
	}
	f := c.Flags()
	f.StringVarP(&e.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&e.format, "format", formatFHIR, "format: "+strings.Join(exportFormats(), ", "))
	f.StringVar(&e.query.Patient, "patient", "", "patient id as the application knows it")
	f.StringVar(&e.query.NHSNumber, "nhs-number", "", "NHS number, ten digits; spaces are ignored")
	f.StringVar(&e.query.Person, "user", "", "id of a member of staff")
	f.StringVar(&e.from, "from", "", "from this day or moment on, for example 2026-11-01 or 2026-11-01T08:00:00Z")
	f.StringVar(&e.to, "to", "", "to the end of this day, or before this moment")
	f.StringVarP(&e.out, "out", "o", "", "file to make; standard output without it")
	c.MarkFlagsOneRequired("patient", "nhs-number", "user")
	c.MarkFlagsMutuallyExclusive("patient", "nhs-number")
	c.RunE = func(c *cobra.Command, _ []string) error { return e.run(c) }
	return c
}

func exportFormats() []string { return []string{formatFHIR} }

func (e *export) run(c *cobra.Command) error {
	if !slices.Contains(exportFormats(), e.format) {
		return failure{exitUsage, fmt.Errorf("--format %s is not one of: %s", e.format, strings.Join(exportFormats(), ", "))}
	}
	cfg, _, err := load(e.config)
	if err != nil {
		return err
	}
	if err := e.narrow(cfg); err != nil {
		return failure{exitUsage, err}
	}
	store, err := gateway.OpenIndex(c.Context(), cfg)
	if err != nil {
		return failure{exitFailure, err}
	}
	defer func() { _ = store.Close() }()
	e.progress = newProgress(c.ErrOrStderr())
	err = intoFile(e.out, c.OutOrStdout(), func(out io.Writer) error {
		switch e.format {
		case formatFHIR:
			return e.fhir(c.Context(), store, out)
		}
		return fmt.Errorf("format %s is not written", e.format)
	})
	if err != nil {
		return failure{exitFailure, fmt.Errorf("export after %d events: %w", e.progress.n, err)}
	}
	e.progress.done(e.out)
	if e.query.NHSNumber != "" {
		c.PrintErrln("Only what was recorded with the NHS number is in it: export by --patient as well.")
	}
	return nil
}

// narrow turns the flags into a query.
func (e *export) narrow(cfg config.Config) error {
	e.query.Site, e.query.Limit = cfg.Site, exportPage
	e.query.NHSNumber = strings.ReplaceAll(e.query.NHSNumber, " ", "")
	zone, err := time.LoadLocation("Europe/London") // as the pages show times
	if err != nil {
		return err
	}
	if e.from != "" {
		if e.query.From, _, err = auditevent.ParseTime(e.from, zone); err != nil {
			return fmt.Errorf("--from %s: %w", e.from, err)
		}
	}
	if e.to != "" {
		begin, end, err := auditevent.ParseTime(e.to, zone)
		if err != nil {
			return fmt.Errorf("--to %s: %w", e.to, err)
		}
		e.query.To = end
		if strings.Contains(e.to, "T") {
			e.query.To = begin
		}
		if !e.query.From.Before(e.query.To) {
			return fmt.Errorf("--to %s is not after --from %s", e.to, e.from)
		}
	}
	return nil
}

// fhir writes one event a line, page by page, so that memory does not grow.
func (e *export) fhir(ctx context.Context, store *clickhouse.Store, out io.Writer) error {
	buffered := bufio.NewWriter(out)
	enc := json.NewEncoder(buffered)
	enc.SetEscapeHTML(false)
	convert := gateway.Converter()
	for q := e.query; ; {
		page, err := store.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, a := range page {
			if err := enc.Encode(convert.Event(a)); err != nil {
				return err
			}
		}
		e.progress.add(len(page))
		if len(page) < exportPage {
			return buffered.Flush()
		}
		last := page[len(page)-1]
		q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
	}
}

// intoFile writes a file that nobody else may read, or to otherwise when path is
// empty. The file has its name only once it is whole, and replaces no other.
func intoFile(path string, otherwise io.Writer, write func(io.Writer) error) (err error) {
	if path == "" {
		return write(otherwise)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: choose another name", path)
	}
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, from an export that was cut off or still runs: remove it first", partial)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// progress counts on a terminal; elsewhere only the end is said.
type progress struct {
	out  io.Writer
	live bool
	n    int
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) add(n int) {
	p.n += n
	if p.live {
		_, _ = fmt.Fprintf(p.out, "\r%d events", p.n)
	}
}

func (p *progress) done(path string) {
	if p.live {
		_, _ = fmt.Fprint(p.out, "\r")
	}
	if path != "" {
		path = " in " + path
	}
	_, _ = fmt.Fprintf(p.out, "%d events%s\n", p.n, path)
}
