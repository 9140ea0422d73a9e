package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

func newDetect() *cobra.Command {
	c := &cobra.Command{Use: "detect", Short: "Detection: what it is told, and how good it is", GroupID: "ask"}
	c.AddCommand(newDetectFeeds(), newDetectRun(), newDetectLearn(), newDetectEvaluate(), newDetectBaseline())
	return c
}

func newDetectFeeds() *cobra.Command {
	var path, schema string
	var asJSON bool
	c := &cobra.Command{
		Use: "feeds", Short: "Read the feeds of the configuration and say how complete and fresh they are", Args: cobra.NoArgs,
		Long: `Reads the staff, rota, patients, care and devices files that the configuration names, as
the gateway does: what names a person becomes a keyed hash, bad lines go to FILE.rejects.ndjson
with their numbers and reasons, and the rest goes in. Nothing is stored.

Exit code 0 when every line is good, 1 when a line was rejected or a file cannot be read.`,
		Example: "  matron detect feeds -c matron.yaml\n" +
			"  matron detect feeds --json | jq .until\n" +
			"  matron detect feeds --schema rota > rota.schema.json",
	}
	c.Flags().StringVarP(&path, "config", "c", "matron.yaml", "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a feed")
	c.Flags().StringVar(&schema, "schema", "", "print the JSON Schema of a feed: staff, rota, patients, care, devices or labels")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if schema != "" {
			text, err := feeds.Schema(feeds.Kind(schema))
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		}
		cfg, _, err := load(path)
		if err != nil {
			return err
		}
		key, err := gateway.Hasher(cfg)
		if err != nil {
			return failure{exitFailure, err}
		}
		context, err := readFeeds(c, feeds.Hasher{Hasher: key}, cfg.Detection)
		if err != nil {
			return failure{exitFailure, err}
		}
		return printFeeds(c, context, asJSON)
	}
	return c
}

// readFeeds reads the feeds with a line of progress.
func readFeeds(c *cobra.Command, hash feeds.Hasher, files config.Detection) (feeds.Context, error) {
	var lines atomic.Int64
	stop := show(c.ErrOrStderr(), func(time.Duration) string { return fmt.Sprintf("reading feeds  %d lines", lines.Load()) })
	defer stop()
	return gateway.ReadFeeds(hash, files, &lines)
}

func printFeeds(c *cobra.Command, context feeds.Context, asJSON bool) error {
	bad := 0
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	if !asJSON {
		_, _ = fmt.Fprintln(w, "FEED\tROWS\tREJECTED\tDUPLICATES\tCONTRADICTIONS\tFILE OF\tCOVERS")
	}
	for _, k := range feeds.Kinds() {
		f, ok := context.About[k]
		switch {
		case k == feeds.LabelsFeed:
		case !ok && asJSON:
			if err := json.NewEncoder(c.OutOrStdout()).Encode(feeds.Feed{Kind: k}); err != nil {
				return err
			}
		case asJSON:
			if err := json.NewEncoder(c.OutOrStdout()).Encode(f); err != nil {
				return err
			}
		case !ok:
			_, _ = fmt.Fprintf(w, "%s\tnone: what needs it is not evaluated\n", k)
		default:
			covers := ""
			if !f.From.IsZero() {
				covers = f.From.UTC().Format("2 January 2006") + " to " + f.Until.UTC().Format("2 January 2006 15:04")
			}
			_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", k, f.Rows, f.Rejected, f.Duplicates, f.Contradictions, f.AsOf.Format("2 January 2006 15:04"), covers)
		}
		bad += f.Rejected
	}
	_ = w.Flush()
	for _, k := range feeds.Kinds() {
		f := context.About[k]
		if len(f.Unknown) > 0 {
			c.PrintErrf("%s: fields that the format does not have were kept: %s\n", k, strings.Join(f.Unknown, ", "))
		}
		if f.Unmatched > 0 {
			c.PrintErrf("%s: %d lines are of people who are not in the staff list\n", k, f.Unmatched)
		}
		if f.Rejected > 0 {
			c.PrintErrf("%s: rejected lines and reasons: %s.rejects.ndjson\n", k, f.File)
		}
	}
	if bad > 0 {
		return failure{exitFailure, fmt.Errorf("%d lines were rejected", bad)}
	}
	return nil
}

// folderFeeds names the feeds of a folder that "simulate hospital" has filled, or
// somebody in the same manner: each as NAME.ndjson or NAME.ndjson.zst.
func folderFeeds(dir string, without []string) (config.Detection, error) {
	d := config.Detection{
		Staff: inFolder(dir, feeds.StaffFeed), Rota: inFolder(dir, feeds.RotaFeed), Patients: inFolder(dir, feeds.PatientsFeed),
		Care: inFolder(dir, feeds.CareFeed), Devices: inFolder(dir, feeds.DevicesFeed),
	}
	for _, name := range without {
		file, ok := map[feeds.Kind]*string{
			feeds.StaffFeed: &d.Staff, feeds.RotaFeed: &d.Rota, feeds.PatientsFeed: &d.Patients, feeds.CareFeed: &d.Care, feeds.DevicesFeed: &d.Devices,
		}[feeds.Kind(name)]
		if !ok {
			return d, fmt.Errorf("--without %q is no feed: the feeds are staff, rota, patients, care, devices", name)
		}
		*file = ""
	}
	return d, nil
}

// inFolder is the file of a feed, "" when there is none.
func inFolder(dir string, name feeds.Kind) string {
	for _, end := range []string{".ndjson", ".ndjson.zst"} {
		path := filepath.Join(dir, string(name)+end)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
