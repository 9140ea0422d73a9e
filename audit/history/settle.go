package history

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
)

// add puts a line into the block that is being filled.
func (s *settler) add(e entry) {
	if s.rows == nil {
		s.rows = make([]audit.Imported, 0, blockRows+chunkLines) // the store has the one before
	}
	s.rows = append(s.rows, e.rows...)
	s.lines = append(s.lines, settling{e.line, len(e.rows), e.err, e.text})
}

// settle decides on each line of the block: it goes in, it is in, or it is
// rejected. Then it hands over what goes in.
func (s *settler) settle(ctx context.Context) error {
	if len(s.lines) == 0 {
		return nil
	}
	stored, err := s.stored(ctx, s.rows)
	if err != nil {
		return err
	}
	// The token is that of all the rows, of those as well that are in already:
	// a second run that finds a part of the block stored must not have another
	// token for the rest while the first insert may still be on its way.
	b := block{token: token(s.rows), rows: s.rows[:0]}
	s.seen = make(map[identity]taken, len(s.rows))
	rest, known := s.rows, 0
	for i := range s.lines {
		l := &s.lines[i]
		rows := rest[:l.rows]
		rest = rest[l.rows:]
		if l.err == nil {
			l.err = s.conflict(rows, stored)
		}
		if l.err != nil {
			continue
		}
		before := len(b.rows)
		for j := range rows {
			if row := &rows[j]; s.take(row, l.line, stored) {
				row.Import = s.cfg.Import
				b.rows = append(b.rows, *row) // in place, where nothing was left out
			}
		}
		if len(b.rows) > before {
			b.lines++
		} else {
			known++
		}
	}
	if err := s.writeRejects(); err != nil {
		return err
	}
	s.summary.Known += known
	select {
	case s.inserts <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.remember()
	return nil
}

// stored asks which rows were imported before.
func (s *settler) stored(ctx context.Context, rows []audit.Imported) (map[identity][16]byte, error) {
	if s.cfg.Store == nil {
		return nil, nil
	}
	found, err := s.cfg.Store.FindImported(ctx, rows)
	if err != nil {
		return nil, err
	}
	stored := make(map[identity][16]byte, len(found))
	for i := range found {
		stored[identityOf(&found[i])] = found[i].Content
	}
	return stored, nil
}

// conflict says that a row of the line is there already and says something else.
func (s *settler) conflict(rows []audit.Imported, stored map[identity][16]byte) error {
	for i := range rows {
		row := &rows[i]
		id := identityOf(row)
		if content, ok := stored[id]; ok && content != row.Content {
			return fmt.Errorf("id %s was imported before with other content", row.ID)
		}
		for _, earlier := range []map[identity]taken{s.before, s.seen} {
			if t, ok := earlier[id]; ok && t.content != row.Content {
				return fmt.Errorf("id %s stands on line %d with other content", row.ID, t.line)
			}
		}
	}
	return nil
}

// take reports whether a row goes in; one that has come before does not.
func (s *settler) take(row *audit.Imported, line int, stored map[identity][16]byte) bool {
	id := identityOf(row)
	_, old := stored[id]
	_, before := s.before[id]
	_, seen := s.seen[id]
	if old || before || seen {
		return false
	}
	s.seen[id] = taken{line, row.Content}
	return true
}

// remember is called once the block is handed over: the one before it is stored
// then, so that only this one may be missing from what the store finds.
func (s *settler) remember() {
	if s.cfg.DryRun || s.cfg.Store == nil {
		if s.before == nil {
			s.before = make(map[identity]taken)
		}
		maps.Copy(s.before, s.seen)
	} else {
		s.before = s.seen
	}
	s.cfg.Progress.Lines.Add(int64(len(s.lines)))
	s.lines, s.rows = s.lines[:0], nil
}

// writeRejects hands over the rejected lines of the block and counts its lines.
func (s *settler) writeRejects() error {
	for _, l := range s.lines {
		if l.err == nil {
			continue
		}
		s.summary.Rejected++
		if err := s.cfg.Rejects(intake.Reject{Line: l.line, Reason: l.err.Error(), Text: string(l.text)}); err != nil {
			return err
		}
	}
	s.summary.Lines += len(s.lines)
	return nil
}

// token names a block by what it says.
func token(rows []audit.Imported) string {
	h := sha256.New()
	var key [8]byte
	for i := range rows {
		binary.BigEndian.PutUint64(key[:], rows[i].Key)
		h.Write(key[:])
		h.Write(rows[i].Content[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
