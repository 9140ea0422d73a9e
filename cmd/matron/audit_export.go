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
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// The formats of an export.
const (
	formatPack = "pack"
	formatFHIR = "fhir-ndjson"
)

// exportPage is how many events are read at once.
const exportPage = 1000

// exporting is one run of "matron audit export".
type exporting struct {
	config, format, out string
	from, to            string
	caseID              string
	query               audit.Query

	cfg   config.Config
	zone  *time.Location
	by    string // who runs it
	shown *bar
	n     int // records written
	// others are gateways that hold more of the answer.
	others []string
}

func newAuditExport() *cobra.Command {
	var e exporting
	c := &cobra.Command{
		Use: "export", Short: "Hand out the record of a patient, a person or a case", Args: cobra.NoArgs,
		Long: "Writes what the record has of one patient, of one member of staff or of one alert: accesses and\n" +
			"refusals, sign-ins, break-glass and every look at the record itself.\n\n" +
			"Format pack: an evidence pack, a zip file with a report to read, the records, the proof of each, and\n" +
			"a signature over all of it; \"matron audit verify\" checks it anywhere. Every record of the journal is\n" +
			"read for it, so that nothing that was deleted from ClickHouse is left out.\n" +
			"Format fhir-ndjson: one FHIR R4 AuditEvent a line (IHE Basic Audit Log Patterns), newest first, from\n" +
			"ClickHouse. The id of an event, such as gw1-123, names its record in the journal.\n\n" +
			"A day counts from its first to its last moment in the hospital's time zone. The file is made for its\n" +
			"owner alone and never overwrites another. The export itself is recorded.",
		Example: "  matron audit export --patient P0042 --out p0042.zip\n" +
			"  matron audit export --user S0007 --from 2026-11-01 --to 2026-11-30 --out s0007.zip\n" +
			"  matron audit export --case 7c1f9ab2 --out case.zip\n" +
			"  matron audit export --format fhir-ndjson --nhs-number \"999 000 0018\" | jq -r .recorded",
	}
	f := c.Flags()
	f.StringVarP(&e.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&e.format, "format", formatPack, "format: "+strings.Join(exportFormats(), ", "))
	f.StringVar(&e.query.Patient, "patient", "", "patient id as the application knows it")
	f.StringVar(&e.query.NHSNumber, "nhs-number", "", "NHS number, ten digits; spaces are ignored")
	f.StringVar(&e.query.Person, "user", "", "id of a member of staff")
	f.StringVar(&e.caseID, "case", "", "id of an alert: the records that it rests on")
	f.StringVar(&e.from, "from", "", "from this day or moment on, for example 2026-11-01 or 2026-11-01T08:00:00Z")
	f.StringVar(&e.to, "to", "", "to the end of this day, or before this moment")
	f.StringVarP(&e.out, "out", "o", "", "file to make; a pack needs one")
	c.MarkFlagsOneRequired("patient", "nhs-number", "user", "case")
	c.MarkFlagsMutuallyExclusive("patient", "case")
	c.MarkFlagsMutuallyExclusive("nhs-number", "case")
	c.MarkFlagsMutuallyExclusive("user", "case")
	c.RunE = func(c *cobra.Command, _ []string) error { return e.run(c) }
	return c
}

func exportFormats() []string { return []string{formatPack, formatFHIR} }

func (e *exporting) run(c *cobra.Command) error {
	switch {
	case !slices.Contains(exportFormats(), e.format):
		return failure{exitUsage, fmt.Errorf("--format %s is not one of: %s", e.format, strings.Join(exportFormats(), ", "))}
	case e.format == formatPack && e.out == "":
		return failure{exitUsage, errors.New("a pack is a file: name it with --out, for example --out evidence.zip")}
	case e.format != formatPack && e.caseID != "":
		return failure{exitUsage, errors.New("--case is for packs")}
	}
	var err error
	if e.cfg, _, err = load(e.config); err != nil {
		return err
	}
	if err := e.narrow(); err != nil {
		return failure{exitUsage, err}
	}
	if e.by, err = operator(e.cfg.DataDir); err != nil {
		return failure{exitFailure, err}
	}
	e.shown = newBar(c.ErrOrStderr(), "export")
	err = intoFile(e.out, c.OutOrStdout(), func(out io.Writer) error { return e.write(c.Context(), out) })
	e.shown.close()
	if err != nil {
		return failure{exitFailure, fmt.Errorf("export after %d records: %w", e.n, err)}
	}
	c.PrintErrf("%d records%s\n", e.n, inFile(e.out))
	if len(e.others) > 0 {
		c.PrintErrf("The case rests on records of %s too: make a pack there as well.\n", strings.Join(e.others, ", "))
	}
	if e.format == formatFHIR && e.query.NHSNumber != "" && e.query.Patient == "" {
		c.PrintErrln("Only what was recorded with the NHS number is in it: give --patient as well.")
	}
	return nil
}

func inFile(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// write writes the export, and leaves for the gateway the record that says so: if
// that cannot be left, nothing is handed out.
func (e *exporting) write(ctx context.Context, out io.Writer) error {
	switch e.format {
	case formatPack:
		if err := e.pack(ctx, out); err != nil {
			return err
		}
	case formatFHIR:
		if err := e.fhir(ctx, out); err != nil {
			return err
		}
	default:
		return fmt.Errorf("format %s is not written", e.format)
	}
	detail := []string{"export=" + e.format, fmt.Sprintf("records=%d", e.n)}
	for _, d := range []struct{ name, value string }{{"person", e.query.Person}, {"case", e.caseID}, {"from", e.from}, {"to", e.to}} {
		if d.value != "" {
			detail = append(detail, d.name+"="+d.value)
		}
	}
	return spool.Put(gateway.SpoolDir(e.cfg), &audit.Record{
		Kind: audit.KindAuditViewed, Time: time.Now(), Action: "export", Patient: e.query.Patient, NHSNumber: e.query.NHSNumber,
		UserIssuer: "os", UserSub: e.by, UserName: e.by, Detail: detail,
	})
}

// narrow turns the flags into a query.
func (e *exporting) narrow() (err error) {
	e.query.Site, e.query.Limit = e.cfg.Site, exportPage
	e.query.NHSNumber = strings.ReplaceAll(e.query.NHSNumber, " ", "")
	e.query.From, e.query.To, e.zone, err = period(e.from, e.to)
	return err
}

// fhir writes one event a line, page by page, so that memory does not grow.
func (e *exporting) fhir(ctx context.Context, out io.Writer) error {
	store, err := gateway.OpenIndex(ctx, e.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
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
		e.n += len(page)
		e.shown.set(int64(e.n), 0)
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
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file; a pack is read again to be signed
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
