package syslog

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// chunk is a run of records that was written at once.
type chunk struct {
	last    uint64
	end     int64     // octets given to TCP up to its end
	time    time.Time // of its first record
	written time.Time
	acked   time.Time // when its end was found acknowledged; zero before
}

// session is the life of one connection.
type session struct {
	e      *Exporter
	conn   *conn
	next   uint64 // the next record to send
	flight []chunk
	tick   time.Duration
	moved  time.Time // when the cursor was last moved
	ended  error     // the source's, once it has
}

// session connects and sends from the cursor on until something breaks.
func (e *Exporter) session(ctx context.Context) error {
	probe := min(max(e.cfg.Window/2, time.Second), 15*time.Second)
	c, err := dial(ctx, e.cfg.Peer, probe, e.cfg.Timeout)
	if err != nil {
		return err
	}
	defer c.close()
	s := &session{
		e: e, conn: c, next: e.cursor.seq + 1,
		tick: min(max(e.cfg.Window/8, 20*time.Millisecond), time.Second),
	}
	e.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "connected to the syslog collector",
		slog.String("address", e.cfg.Peer.Address), slog.Uint64("from", s.next))
	return s.run(ctx)
}

func (s *session) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.settle(); err != nil {
			return err
		}
		if s.ended != nil && len(s.flight) == 0 {
			return &sourceEnded{s.ended}
		}
		sent, err := s.send()
		if err != nil {
			return err
		}
		if sent == 0 {
			if err := s.wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// send writes the next records.
func (s *session) send() (records int, err error) {
	list, err := s.e.cfg.Source.Read(s.next, readLimit)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errJournal, err)
	}
	var buf []byte
	first := 0
	for i, r := range list {
		if r.Seq != s.next+uint64(i) {
			return 0, fmt.Errorf("%w: record %d where %d belongs", errJournal, r.Seq, s.next+uint64(i))
		}
		buf = s.e.encoder.Append(buf, r)
		if len(buf) < maxChunk && i < len(list)-1 {
			continue
		}
		now := s.e.cfg.Now()
		end, err := s.conn.write(buf, now.Add(s.e.cfg.Timeout))
		if err != nil {
			return 0, err
		}
		s.flight = append(s.flight, chunk{last: r.Seq, end: end, time: list[first].Time, written: now})
		buf, first = buf[:0], i+1
	}
	s.next += uint64(len(list))
	return len(list), nil
}

// settle finds out what has been acknowledged and moves the cursor over what the
// collector has outlived by Window.
func (s *session) settle() error {
	if s.conn.gone.Err() != nil {
		return context.Cause(s.conn.gone)
	}
	now := s.e.cfg.Now()
	acked, known, err := s.conn.acknowledged()
	if err != nil {
		return err
	}
	alive, err := s.conn.alive(now)
	if err != nil {
		return err
	}
	window := s.e.cfg.Window
	if !known {
		window += s.e.cfg.Timeout // in place of the acknowledgement
	}
	confirmed, sent := s.e.cursor.seq, s.e.cursor.seq
	settled := 0
	for i := range s.flight {
		c := &s.flight[i]
		if c.acked.IsZero() && (c.end <= acked || !known) {
			c.acked = now
		}
		if c.acked.IsZero() {
			break
		}
		sent = c.last
		if !alive.Before(c.acked.Add(window)) {
			confirmed, settled = c.last, i+1
		}
	}
	// Each move costs two fsyncs: not more often than anybody would notice.
	if confirmed > s.e.cursor.seq && now.Sub(s.moved) >= s.tick {
		if err := s.e.cursor.move(confirmed); err != nil {
			return err
		}
		s.flight, s.moved = s.flight[settled:], now
	}
	s.report(sent)
	return nil
}

// report tells Status.
func (s *session) report(sent uint64) {
	var oldest time.Time
	for _, c := range s.flight {
		if c.acked.IsZero() {
			oldest = c.time
			break
		}
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	st := &s.e.status
	if sent > st.Confirmed {
		st.LastError = "" // something got through
	}
	st.Connected = true
	st.Sent, st.Confirmed = max(sent, s.e.cursor.seq), s.e.cursor.seq
	s.e.oldest = oldest
}

// wait waits for records, for the end of the connection, or for the time to
// settle.
func (s *session) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.tick)
	defer cancel()
	defer context.AfterFunc(s.conn.gone, cancel)()
	if s.ended != nil {
		<-ctx.Done()
		return nil
	}
	if err := s.e.cfg.Source.Wait(ctx, s.next-1); err != nil && ctx.Err() == nil {
		s.ended = err
	}
	return nil
}
