package history

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
)

const (
	maxLine     = 1 << 20
	maxFHIRLine = 16 << 20
	chunkBytes  = 256 << 10
	chunkLines  = 1000
)

// item is one line or record of a file, before it is parsed.
type item struct {
	line   int
	text   []byte
	record []string // CSV
	url    string   // FHIR: what a Bundle calls the resource
	where  string   // FHIR: where in the line, for reasons
	err    error    // it cannot be parsed
}

// entry is one line, parsed: its rows, or why it has none.
type entry struct {
	line int
	rows []audit.Imported
	err  error
	text []byte // only where somebody wants to see rejected lines
}

// chunk is a run of lines that one goroutine parses.
type chunk struct {
	items  []item
	parsed chan parsed // one value, once it is parsed
}

type parsed struct {
	entries []entry
	unknown []string
}

// source cuts a file into items. next ends with io.EOF.
type source interface{ next() (item, error) }

// lineSource is a file with one JSON object a line.
type lineSource struct{ lines *intake.Lines }

func (s lineSource) next() (item, error) {
	line, err := s.lines.Next()
	if errors.Is(err, intake.ErrTooLong) {
		return item{line: s.lines.Number(), err: err}, nil
	}
	return item{line: s.lines.Number(), text: line}, err
}

// cut reads s to its end and hands out chunks, in order to the one that
// collects and in any order to those that parse.
func cut(ctx context.Context, s source, collect, parse chan<- *chunk) error {
	for ended := false; !ended; {
		c := &chunk{parsed: make(chan parsed, 1)}
		var buf []byte
		for len(c.items) < chunkLines && len(buf) < chunkBytes {
			it, err := s.next()
			if errors.Is(err, io.EOF) {
				ended = true
				break
			}
			if err != nil {
				return err
			}
			from := len(buf)
			buf = append(buf, it.text...) // what it had is overwritten by the next line
			it.text = buf[from:len(buf):len(buf)]
			c.items = append(c.items, it)
		}
		if len(c.items) == 0 {
			continue
		}
		for _, to := range []chan<- *chunk{collect, parse} {
			select {
			case to <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// parseFunc parses one item.
type parseFunc func(rows []audit.Imported, it item) (_ []audit.Imported, unknown []string, err error)

// run parses the chunk.
func (c *chunk) run(parse parseFunc, keepLines bool) {
	out := parsed{entries: make([]entry, 0, len(c.items))}
	rows := make([]audit.Imported, 0, len(c.items))
	for _, it := range c.items {
		e := entry{line: it.line, err: it.err}
		if it.err == nil {
			from := len(rows)
			var unknown []string
			rows, unknown, e.err = parse(rows, it)
			if e.err != nil && it.where != "" {
				e.err = fmt.Errorf("%s: %w", it.where, e.err)
			}
			for i := from; i < len(rows); i++ {
				rows[i].Line = uint64(it.line) //nolint:gosec // counted from 1
			}
			e.rows = rows[from:len(rows):len(rows)]
			out.unknown = append(out.unknown, unknown...)
		}
		if keepLines {
			e.text = it.text
		}
		out.entries = append(out.entries, e)
	}
	c.parsed <- out
}
