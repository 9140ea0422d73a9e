package feeds

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

// maxLine bounds one line of a file.
const maxLine = 1 << 20

// Reader reads files of feeds: NDJSON, plain or zstd, or CSV where a mapping is
// given. Bad lines are handed to Reject and left out; the rest goes in.
type Reader struct {
	Hasher  Hasher
	Mapping *Mapping                  // of a CSV file
	Reject  func(intake.Reject) error // nil: bad lines are counted only
	Lines   *atomic.Int64             // read so far, for progress; may be nil
}

// Staff reads a staff file.
func (r Reader) Staff(in io.Reader) ([]Staff, Feed, error) {
	rows, feed, err := read(r, in, StaffFeed, r.Hasher.staff)
	feed.Contradictions = overlaps(rows, func(s *Staff) string { return s.Person }, staffSpan)
	return rows, feed, err
}

// Patients reads a patients file. Of two lines about one patient the last counts.
func (r Reader) Patients(in io.Reader) ([]Patient, Feed, error) {
	rows, feed, err := read(r, in, PatientsFeed, r.Hasher.patient)
	last := make(map[string]int, len(rows))
	for i := range rows {
		if _, twice := last[rows[i].ID]; twice {
			feed.Contradictions++
		}
		last[rows[i].ID] = i
	}
	if feed.Contradictions > 0 {
		kept := rows[:0]
		for i := range rows {
			if last[rows[i].ID] == i {
				kept = append(kept, rows[i])
			}
		}
		rows = kept
	}
	return rows, feed, err
}

// Rota reads a rota file.
func (r Reader) Rota(in io.Reader) ([]Shift, Feed, error) {
	rows, feed, err := read(r, in, RotaFeed, r.Hasher.shift)
	feed.Contradictions = overlaps(rows, func(s *Shift) string { return s.Person }, shiftSpan)
	cover(&feed, rows, func(s *Shift) (time.Time, time.Time) { return s.Start, s.End })
	return rows, feed, err
}

// Care reads a care file.
func (r Reader) Care(in io.Reader) (*CareLines, Feed, error) {
	rows := CareOf()
	var inBed []Care
	feed, err := r.lines(in, CareFeed, func(line []byte) ([]string, error) {
		row, unknown, bad := r.Hasher.care(line)
		if bad == nil {
			rows.Add(row)
			if row.Kind == "inpatient" {
				inBed = append(inBed, row)
			}
		}
		return unknown, bad
	})
	feed.Rows, feed.Contradictions = rows.Len(), overlaps(inBed, func(c *Care) string { return c.Patient }, bedSpan)
	// An appointment next month says nothing about how fresh the feed is today,
	// but neither does any other line: the newest start is the best there is.
	for _, c := range rows.All() {
		feed.cover(c.Start, c.Start)
	}
	return rows, feed, err
}

// Devices reads a devices file.
func (r Reader) Devices(in io.Reader) ([]Device, Feed, error) {
	rows, feed, err := read(r, in, DevicesFeed, r.Hasher.device)
	feed.Contradictions = overlaps(rows, func(d *Device) string { return d.Device }, deviceSpan)
	return rows, feed, err
}

// Labels reads a labels file.
func (r Reader) Labels(in io.Reader) ([]Label, Feed, error) {
	return read(r, in, LabelsFeed, r.Hasher.label)
}

// read keeps the rows of a file. The result is never nil: an empty file is a feed
// that says nothing, not a feed that is missing.
func read[T any](r Reader, in io.Reader, kind Kind, parse func([]byte) (T, []string, error)) ([]T, Feed, error) {
	out := []T{}
	feed, err := r.lines(in, kind, func(line []byte) ([]string, error) {
		row, unknown, bad := parse(line)
		if bad == nil {
			out = append(out, row)
		}
		return unknown, bad
	})
	if err != nil {
		return nil, feed, err
	}
	feed.Rows = len(out)
	return out, feed, nil
}

// lines takes a file line by line, each that is there twice once. take names the
// fields of a line that the format does not have, and says why it is left out.
func (r Reader) lines(in io.Reader, kind Kind, take func([]byte) (unknown []string, bad error)) (Feed, error) {
	feed := Feed{Kind: kind}
	next, done, err := r.open(in, kind)
	if err != nil {
		return feed, err
	}
	defer done()
	var report intake.Report
	seen := map[[16]byte]struct{}{}
	for {
		line, number, bad, err := next()
		if errors.Is(err, io.EOF) {
			feed.Unknown = report.Unknown
			return feed, nil
		}
		if err != nil {
			return feed, err
		}
		if r.Lines != nil {
			r.Lines.Add(1)
		}
		if bad == nil {
			if sum := digest(line); add(seen, sum) {
				feed.Duplicates++
				continue
			}
			var unknown []string
			unknown, bad = take(line)
			report.AddUnknown(unknown...)
		}
		if bad != nil {
			feed.Rejected++
			if r.Reject != nil {
				if err := r.Reject(intake.Reject{Line: number, Reason: bad.Error()}); err != nil {
					return feed, err
				}
			}
		}
	}
}

func add(seen map[[16]byte]struct{}, sum [16]byte) (twice bool) {
	before := len(seen)
	seen[sum] = struct{}{}
	return len(seen) == before
}

// nextLine returns one line as JSON, or why it is none.
type nextLine func() (line []byte, number int, bad, err error)

func (r Reader) open(in io.Reader, kind Kind) (nextLine, func(), error) {
	o, err := intake.Open(in, new(atomic.Int64))
	if err != nil {
		return nil, nil, err
	}
	if r.Mapping != nil {
		next, err := r.Mapping.open(o, kind)
		if err != nil {
			o.Close()
		}
		return next, o.Close, err
	}
	if head, _ := o.Peek(64); len(head) > 0 && !jsonLike(head) {
		o.Close()
		return nil, nil, fmt.Errorf("%w: it does not begin like JSON: a CSV file needs a mapping", intake.ErrFile)
	}
	lines := intake.NewLines(o, maxLine)
	return func() ([]byte, int, error, error) {
		line, err := lines.Next()
		if errors.Is(err, intake.ErrTooLong) {
			return nil, lines.Number(), err, nil
		}
		return line, lines.Number(), nil, err
	}, o.Close, nil
}

// jsonLike reports whether a file could hold JSON lines, some of them broken: a
// heading of CSV has no brace.
func jsonLike(head []byte) bool {
	for _, c := range head {
		switch c {
		case ' ', '\t', '\r', '\n':
		case ',', ';':
			return false
		case '{':
			return true
		}
	}
	return true
}

// decode reads one object into v and names the fields that the format has not;
// they are kept, what names a person in them as hashes.
func decode(h pseudonym.Hasher, line []byte, v any, extra *jsontext.Value) (kept string, unknown []string, err error) {
	if err := json.Unmarshal(line, v); err != nil {
		return "", nil, intake.Mistake(line, err)
	}
	if len(*extra) == 0 {
		return "", nil, nil
	}
	clean, unknown, err := intake.Clean(*extra, h)
	return string(clean), unknown, err
}

// overlaps counts the rows that contradict an earlier one of the same person or
// thing: both hold for the same time and say different places.
func overlaps[T any](rows []T, id func(*T) string, span func(*T) (from, to time.Time, place string)) int {
	by := map[string][]int{}
	for i := range rows {
		if _, _, place := span(&rows[i]); place != "" {
			by[id(&rows[i])] = append(by[id(&rows[i])], i)
		}
	}
	n := 0
	for _, k := range slices.Sorted(maps.Keys(by)) {
		of := by[k]
		slices.SortStableFunc(of, func(a, b int) int {
			x, _, _ := span(&rows[a])
			y, _, _ := span(&rows[b])
			return x.Compare(y)
		})
		for i := 1; i < len(of); i++ {
			_, until, was := span(&rows[of[i-1]])
			from, _, is := span(&rows[of[i]])
			if is != was && (until.IsZero() || from.Before(until)) {
				n++
			}
		}
	}
	return n
}

// cover notes from when until when a feed says something.
func cover[T any](f *Feed, rows []T, span func(*T) (time.Time, time.Time)) {
	for i := range rows {
		f.cover(span(&rows[i]))
	}
}

func (f *Feed) cover(from, until time.Time) {
	if f.From.IsZero() || from.Before(f.From) {
		f.From = from
	}
	if until.After(f.Until) {
		f.Until = until
	}
}
