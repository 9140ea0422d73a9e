// Command months lengthens a made-up hospital: its days come again and again, each
// time with new numbers for accesses, sessions and visits, so that a long history
// costs no more memory to make than a short one. It serves to measure, not to
// detect: what people do comes again as well, and nobody leaves or moves.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

func main() {
	in := flag.String("in", "", "folder of \"matron simulate hospital\"")
	out := flag.String("out", "", "folder to write into")
	start := flag.String("start", "2026-09-01", "first day of the folder")
	days := flag.Int("days", 30, "days of the folder")
	times := flag.Int("times", 2, "how often they come")
	flag.Parse()
	if err := run(*in, *out, *start, *days, *times); err != nil {
		fmt.Fprintln(os.Stderr, "months:", err)
		os.Exit(1)
	}
}

func run(in, out, start string, days, times int) error {
	first, err := time.Parse(time.DateOnly, start)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	m := months{in: in, out: out, days: days, first: first, shifted: map[string]string{}}
	for again := range times {
		m.again = again
		clear(m.shifted)
		for _, name := range []string{"accesses.ndjson.zst", "care.ndjson", "rota.ndjson", "staff.ndjson", "patients.ndjson", "devices.ndjson"} {
			if err := m.file(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// months is one pass over the folder.
type months struct {
	in, out string
	days    int
	again   int
	first   time.Time
	shifted map[string]string // day of the folder → day that is written
}

// carried is how many days before the first one care still matters.
const carried = 3

// file adds a file to what is written. Files without times are written once.
func (m *months) file(name string) (err error) {
	take := map[string]func([]byte) []byte{"accesses.ndjson.zst": m.access, "care.ndjson": m.care, "rota.ndjson": m.rota, "staff.ndjson": settled}[name]
	if m.again > 0 && (take == nil || name == "staff.ndjson") {
		return nil
	}
	from, err := os.Open(filepath.Join(m.in, name))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	mode := os.O_APPEND
	if m.again == 0 {
		mode = os.O_TRUNC
	}
	to, err := os.OpenFile(filepath.Join(m.out, name), os.O_CREATE|os.O_WRONLY|mode, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if filepath.Ext(name) != ".zst" {
		return each(from, to, take)
	}
	packed, err := zstd.NewReader(from)
	if err != nil {
		return err
	}
	defer packed.Close()
	w, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	return errors.Join(each(packed, w, take), w.Close())
}

func each(from io.Reader, to io.Writer, take func([]byte) []byte) error {
	lines, out := bufio.NewReaderSize(from, 1<<20), bufio.NewWriterSize(to, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if take != nil {
			line = take(line)
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

func (m *months) access(line []byte) []byte {
	m.day(line, `"time":"`)
	return m.renumber(m.renumber(line, `{"id":"`), `"session":"`)
}

func (m *months) rota(line []byte) []byte {
	m.day(line, `"start":"`)
	m.day(line, `"end":"`)
	return line
}

// care leaves out what was over before the days that come again.
func (m *months) care(line []byte) []byte {
	if m.again > 0 {
		until := value(line, `"end":"`)
		if until == nil {
			until = value(line, `"start":"`)
		}
		if len(until) < 10 || string(until[:10]) < m.first.AddDate(0, 0, -carried).Format(time.DateOnly) {
			return nil
		}
	}
	return m.renumber(m.renumber(m.rota(line), `"visit":"`), `"evidence":"`)
}

// settled takes away until when somebody works somewhere.
func settled(line []byte) []byte {
	for _, field := range []string{`"valid_from":"`, `"valid_to":"`, `"end":"`} {
		if at := bytes.Index(line, []byte(`,`+field)); at >= 0 {
			end := at + 1 + len(field) + bytes.IndexByte(line[at+1+len(field):], '"') + 1
			line = append(line[:at:at], line[end:]...)
		}
	}
	return line
}

func value(line []byte, field string) []byte {
	at := bytes.Index(line, []byte(field))
	if at < 0 {
		return nil
	}
	return line[at+len(field):]
}

// day moves the day of a field.
func (m *months) day(line []byte, field string) {
	text := value(line, field)
	if m.again == 0 || len(text) < 10 {
		return
	}
	to, ok := m.shifted[string(text[:10])]
	if !ok {
		if was, err := time.Parse(time.DateOnly, string(text[:10])); err == nil {
			to = was.AddDate(0, 0, m.again*m.days).Format(time.DateOnly)
			m.shifted[string(text[:10])] = to
		}
	}
	copy(text, to)
}

// renumber puts which time it is before a number.
func (m *months) renumber(line []byte, field string) []byte {
	at := bytes.Index(line, []byte(field))
	if m.again == 0 || at < 0 {
		return line
	}
	at += len(field)
	out := make([]byte, 0, len(line)+4)
	out = fmt.Appendf(append(out, line[:at]...), "%d.", m.again)
	return append(out, line[at:]...)
}
