package history

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

// blockRows is how many rows go in at once. Blocks are cut by the content of
// the file alone, so that a second run makes the same ones: whoever keeps them
// knows each by its token.
const blockRows = 50_000

// Store is where accesses are kept. Implementations make InsertImported durable
// and drop what comes again under the same token; FindImported sees every row of
// an InsertImported that has returned.
type Store interface {
	FindImported(ctx context.Context, rows []audit.Imported) ([]audit.Imported, error)
	InsertImported(ctx context.Context, token string, rows []audit.Imported) error
}

// Config is one run over one file.
type Config struct {
	Format  Format // empty: look at the content
	Mapping *Mapping
	Site    string
	Source  string // of accesses that name none
	Hasher  pseudonym.Hasher
	Import  audit.Import // what every row says of this run; Origin is set from the format
	// Store is where rows go. Without one, nothing is compared with what was
	// imported before.
	Store  Store
	DryRun bool // store nothing
	// Rejects is told of each line that is left out, by ascending line within a
	// block.
	Rejects   func(intake.Reject) error
	KeepLines bool // rejects hold the text of the line
	Progress  *Progress
}

// Progress may be read while Import runs.
type Progress struct {
	Bytes atomic.Int64 // of the file as it is, compressed or not
	Lines atomic.Int64 // settled: in, in before, or rejected
}

// Summary is what has come of one file. Lines without content are not counted;
// a Bundle counts as many lines as it has entries.
type Summary struct {
	Format   Format   `json:"format"`
	Lines    int      `json:"lines"`
	Imported int      `json:"imported"` // lines that went in now
	Known    int      `json:"known"`    // lines that were in already
	Rejected int      `json:"rejected"`
	Rows     int      `json:"rows"`    // that went in now; a list of patients makes several
	Unknown  []string `json:"unknown"` // fields that the format does not have
	Complete bool     `json:"complete"`
}

// Import takes in one file. When ctx ends it stops after the block that is
// being stored, and its error is that of ctx; what went in stays, and a second
// run goes on from there.
func Import(ctx context.Context, c Config, r io.Reader) (Summary, error) {
	if c.Progress == nil {
		c.Progress = new(Progress)
	}
	in, err := intake.Open(r, &c.Progress.Bytes)
	if err != nil {
		return Summary{}, err
	}
	defer in.Close()
	if c.Format == "" {
		if c.Format, err = guess(in); err != nil {
			return Summary{}, err
		}
	}
	src, newParse, err := c.reader(in)
	if err != nil {
		return Summary{Format: c.Format}, err
	}
	c.Import.Origin = string(c.Format)
	s := &settler{cfg: c, summary: Summary{Format: c.Format}, inserts: make(chan block)}
	err = s.run(ctx, src, newParse)
	s.summary.Unknown = s.report.Unknown
	s.summary.Complete = err == nil
	return s.summary, err
}

// reader returns how a file of this format is cut and parsed.
func (c Config) reader(in *intake.Opened) (source, func() parseFunc, error) {
	parser := func() *Parser {
		return NewParser(ParserConfig{Site: c.Site, Source: c.Source, Hasher: c.Hasher, Now: c.Import.At})
	}
	switch c.Format {
	case Accesses:
		return lineSource{intake.NewLines(in, maxLine)}, func() parseFunc {
			p := parser()
			return func(rows []audit.Imported, it item) ([]audit.Imported, []string, error) {
				return p.ParseAccess(rows, it.text)
			}
		}, nil
	case FHIR:
		return &bundleSource{lines: intake.NewLines(in, maxFHIRLine)}, func() parseFunc {
			p := parser()
			return func(rows []audit.Imported, it item) ([]audit.Imported, []string, error) {
				return p.parseEvent(rows, it)
			}
		}, nil
	case CSV:
		if c.Mapping == nil {
			return nil, nil, fmt.Errorf("%w: CSV needs a mapping file that says which column is what", intake.ErrFile)
		}
		src, table, err := openCSV(in, c.Mapping)
		if err != nil {
			return nil, nil, err
		}
		return src, func() parseFunc {
			p := parser()
			return func(rows []audit.Imported, it item) ([]audit.Imported, []string, error) {
				return p.parseRecord(rows, table, it.record)
			}
		}, nil
	}
	return nil, nil, fmt.Errorf("%w: format %q is none of accesses, fhir, csv", intake.ErrFile, c.Format)
}

// run reads, parses, settles and stores, each at the same time as the others.
func (s *settler) run(ctx context.Context, src source, newParse func() parseFunc) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	collect, parse := make(chan *chunk, 4*workers), make(chan *chunk, workers)
	group.Go(func() error {
		defer close(collect)
		defer close(parse)
		return cut(ctx, src, collect, parse)
	})
	for range workers {
		group.Go(func() error {
			do := newParse()
			for c := range parse {
				c.run(do, s.cfg.KeepLines)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(s.inserts)
		return s.collect(ctx, collect)
	})
	group.Go(func() error { return s.store(ctx) })
	return group.Wait()
}

// collect puts the chunks together again, in order, and cuts them into blocks.
func (s *settler) collect(ctx context.Context, chunks <-chan *chunk) error {
	for c := range chunks {
		var p parsed
		select {
		case p = <-c.parsed:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.report.AddUnknown(p.unknown...)
		for _, e := range p.entries {
			s.add(e)
			if len(s.rows) >= blockRows || len(s.lines) >= blockRows {
				if err := s.settle(ctx); err != nil {
					return err
				}
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // what is left is not the file's end
	}
	return s.settle(ctx)
}

// store puts blocks into the store, one at a time. A block that has begun ends,
// whatever ctx says.
func (s *settler) store(ctx context.Context) error {
	for b := range s.inserts {
		if !s.cfg.DryRun && len(b.rows) > 0 {
			if err := s.insert(ctx, b); err != nil {
				return err
			}
		}
		s.summary.Imported += b.lines
		s.summary.Rows += len(b.rows)
	}
	return nil
}

func (s *settler) insert(ctx context.Context, b block) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	return s.cfg.Store.InsertImported(ctx, b.token, b.rows)
}

// block is what is stored at once.
type block struct {
	token string
	rows  []audit.Imported
	lines int
}

// settler decides on each line. Its fields belong to the goroutine of collect
// unless they say otherwise.
type settler struct {
	cfg    Config
	report intake.Report
	lines  []settling // of the block that is being filled
	rows   []audit.Imported
	// seen is what this block has taken; before is what must be remembered of
	// earlier ones: the block that may still be on its way into the store, or
	// all of them when nothing is stored.
	seen, before map[identity]taken
	inserts      chan block
	// Imported and Rows belong to the goroutine of store until run has ended.
	summary Summary
}

// settling is a line of the block that is being filled: its rows are the next
// ones of the block.
type settling struct {
	line, rows int
	err        error
	text       []byte
}

// taken is a row that was taken from this file.
type taken struct {
	line    int
	content [16]byte
}
