package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/appmap/learn"
)

// learning is one run of "matron appmap learn".
type learning struct {
	config, app, since, until string
	file, base, out           string
	words                     []string
	asJSON                    bool

	zone  *time.Location
	query audit.WaivedQuery
	shown *bar
}

func newAppmapLearn() *cobra.Command {
	var l learning
	c := &cobra.Command{
		Use: "learn", Short: "Propose rules from requests that no rule describes", Args: cobra.NoArgs,
		Long: "Reads the journal for requests on routes that the map did not know, while the application was\n" +
			"observed or bypassed, and proposes a rule for each method and path pattern: the most frequent first,\n" +
			"with counts, how many people, when, how it was answered, names of parameters, and what may name the\n" +
			"patient. The area, and whatever else only a person can tell, is left as TODO. Fill it in, and\n" +
			"\"matron appmap check\" says what is missing.\n\n" +
			"It shows no value of any request. A part of a path or the name of a parameter is shown only where it\n" +
			"is known as a word of applications, or the application's map has it, since anything else may be a\n" +
			"name; --word shows one that you know to be the application's own.\n\n" +
			"With --file it reads exported accesses (NDJSON, a path in the field path, target, url, screen or\n" +
			"resource; .zst too; - for standard input) in place of the journal. All of them count.\n\n" +
			"Exit code 0: the proposal is whole, with no rules when nothing was unmapped; 1: the journal or the file\n" +
			"cannot be read, or it was cut short, and nothing is proposed; 2: a flag is wrong; 3: the configuration is.",
		Example: "  matron appmap learn --application wardbook --out wardbook.yaml\n" +
			"  matron appmap learn --application wardbook --since 2026-11-01 --word bedboard --word teletriage\n" +
			"  matron appmap learn --application wardbook --since 24h --json | jq '.rules[] | .path'\n" +
			"  matron appmap learn --application wardbook --file accesses.ndjson --base /ward",
	}
	f := c.Flags()
	f.StringVarP(&l.config, "config", "c", "matron.yaml", "configuration file")
	f.StringVar(&l.app, "application", "", "application, as the configuration names it (default: the only one)")
	f.StringVar(&l.since, "since", "", sinceHelp+" (default: 7d; with --file: all)")
	f.StringVar(&l.until, "until", "", untilHelp)
	f.StringVar(&l.file, "file", "", "exported accesses to read in place of the journal; - is standard input")
	f.StringVar(&l.base, "base", "", "path under which the application is mounted (default: the prefix in the configuration)")
	f.StringArrayVar(&l.words, "word", nil, "a part of a path or a name of a parameter that is the application's own; may be given several times")
	f.StringVarP(&l.out, "out", "o", "", "file to make; never overwrites another")
	f.BoolVar(&l.asJSON, "json", false, "print the proposal as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error { return l.run(c) }
	return c
}

func (l *learning) run(c *cobra.Command) error {
	if err := l.times(time.Now()); err != nil {
		return failure{exitUsage, err}
	}
	l.shown = newBar(c.ErrOrStderr(), "learn")
	p, err := l.learn(c)
	l.shown.close()
	if err != nil {
		return err
	}
	err = intoFile(l.out, c.OutOrStdout(), func(out io.Writer) error {
		if l.asJSON {
			return encodeJSON(out, p)
		}
		return p.WriteYAML(out, l.zone)
	})
	if err != nil {
		return failure{exitFailure, err}
	}
	c.PrintErrf("%d rules from %d requests%s\n", len(p.Rules), p.Requests, inFile(l.out))
	if p.Unreadable > 0 {
		c.PrintErrf("not readable, or without a path: %d lines\n", p.Unreadable)
	}
	return nil
}

// times reads --since and --until. A file has all that was asked for, a journal more
// than that.
func (l *learning) times(now time.Time) (err error) {
	since := l.since
	if since == "" && l.file == "" {
		since = "7d"
	}
	l.query.From, l.query.To, l.zone, err = window(since, l.until, now)
	if l.file != "" && l.until == "" {
		l.query.To = time.Time{}
	}
	return err
}

// learn reads what there is to learn from.
func (l *learning) learn(c *cobra.Command) (*learn.Proposal, error) {
	if l.file == "" {
		return l.fromJournal(c.Context())
	}
	if l.app == "" {
		return nil, failure{exitUsage, errors.New("--file needs --application: name the application")}
	}
	l.query.App = l.app
	in, done, err := l.open(c)
	if err != nil {
		return nil, failure{exitFailure, err}
	}
	defer done()
	tally := learn.New(l.query, l.base, l.words...)
	unreadable, read, err := l.accesses(c.Context(), in, tally)
	if err == nil && read == unreadable {
		err = errors.New("no line is an access with a path (in path, target, url, screen or resource), a time and a person")
	}
	if err != nil {
		return nil, failure{exitFailure, fmt.Errorf("%s: %w", l.file, err)}
	}
	p := tally.Proposal()
	p.Source, p.Unreadable = "exported accesses", unreadable
	return &p, nil
}

func (l *learning) fromJournal(ctx context.Context) (*learn.Proposal, error) {
	cfg, _, err := load(l.config)
	if err != nil {
		return nil, err
	}
	app, err := l.application(&cfg)
	if err != nil {
		return nil, failure{exitUsage, err}
	}
	m, err := appmap.Load(app.Map)
	if err != nil {
		return nil, failure{exitConfig, err}
	}
	l.query.App = app.Name
	tally := learn.New(l.query, cmp.Or(l.base, app.Prefix), append(m.Words(), l.words...)...)
	if err := gateway.Walk(ctx, cfg, l.query.From, l.query.To, l.shown.set, tally.AddRecord); err != nil {
		return nil, failure{exitFailure, fmt.Errorf("read the journal: %w", err)}
	}
	p := tally.Proposal()
	p.Source = "the journal"
	return &p, nil
}

func (l *learning) application(c *config.Config) (*config.Application, error) {
	var names []string
	for i := range c.Applications {
		a := &c.Applications[i]
		if a.Name == l.app || l.app == "" && len(c.Applications) == 1 {
			return a, nil
		}
		names = append(names, a.Name)
	}
	if l.app == "" {
		return nil, fmt.Errorf("--application is missing: %s has %s", l.config, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("--application %s is no application of %s", l.app, l.config)
}

// open opens the file of accesses, decompressed.
func (l *learning) open(c *cobra.Command) (in io.Reader, done func(), err error) {
	in, done = c.InOrStdin(), func() {}
	if l.file != "-" {
		f, err := os.Open(l.file)
		if err != nil {
			return nil, nil, err
		}
		in, done = f, func() { _ = f.Close() }
	}
	if !strings.HasSuffix(l.file, ".zst") {
		return in, done, nil
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		done()
		return nil, nil, err
	}
	closeFile := done
	return z, func() { z.Close(); closeFile() }, nil
}

// accesses reads one line after the other. What cannot be read is counted.
func (l *learning) accesses(ctx context.Context, in io.Reader, tally *learn.Tally) (unreadable, read uint64, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return unreadable, read, err
		}
		if len(lines.Bytes()) == 0 {
			continue
		}
		read++
		l.shown.set(int64(read), 0)
		if tally.AddAccess(lines.Bytes()) != nil {
			unreadable++
		}
	}
	return unreadable, read, lines.Err()
}
