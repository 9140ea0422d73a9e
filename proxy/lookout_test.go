package proxy

import (
	"net"
	"testing"
	"time"
)

// watched is a lookout of one end of a connection, and the other end.
func watched(t *testing.T) (l *lookout, here, there net.Conn, gone chan struct{}) {
	t.Helper()
	here, there = net.Pipe()
	gone = make(chan struct{}, 1)
	l = &lookout{gone: func() { gone <- struct{}{} }, left: func() {}}
	t.Cleanup(func() {
		_ = there.Close()
		_ = here.Close()
		l.close()
	})
	return l, here, there, gone
}

// staring reports whether somebody reads.
func (l *lookout) staring() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done != nil
}

// TestLookoutLearnsThatTheClientIsGone: once the exchange has lasted, and no sooner.
func TestLookoutLearnsThatTheClientIsGone(t *testing.T) {
	l, here, there, gone := watched(t)
	if !l.postponed() || l.postponed() {
		t.Fatal("one read of an exchange is put off")
	}
	l.look(here)
	l.look(here)
	if l.staring() {
		t.Fatal("the header may still be read")
	}
	l.begin(true)
	l.look(here)
	if l.staring() {
		t.Fatal("the exchange has just begun")
	}
	l.look(here)
	_ = there.Close()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("nobody was told")
	}
}

// TestLookoutLosesNoByte: what comes meanwhile is what is read next, nobody is told
// that the client is gone, and no deadline is left behind.
func TestLookoutLosesNoByte(t *testing.T) {
	l, here, there, gone := watched(t)
	l.postponed()
	l.begin(true)
	l.look(here)
	l.look(here)
	if _, err := there.Write([]byte("G")); err != nil {
		t.Fatal(err)
	}
	l.end(here)
	if l.postponed() {
		t.Error("what was read ahead waits to be read")
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		_, _ = there.Write([]byte("ET"))
	}()
	var got []byte
	for len(got) < 3 {
		b := make([]byte, 8)
		n, err := l.read(here, b)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, b[:n]...)
	}
	if string(got) != "GET" || len(gone) > 0 {
		t.Errorf("read %q, client gone %d times", got, len(gone))
	}
}

// TestLookoutEndsWithItsExchange: nothing came and the client is there.
func TestLookoutEndsWithItsExchange(t *testing.T) {
	l, here, _, gone := watched(t)
	for range 3 {
		l.postponed()
		l.begin(true)
		l.look(here)
		if l.staring() {
			t.Fatal("it is another exchange than the last time")
		}
		l.end(here)
	}
	l.postponed()
	l.begin(true)
	l.look(here)
	l.look(here)
	l.end(here)
	if l.staring() || len(gone) > 0 {
		t.Errorf("staring %t, client gone %d times", l.staring(), len(gone))
	}
}

// TestLookoutLeavesBodiesAlone: while a body is read nobody else may read.
func TestLookoutLeavesBodiesAlone(t *testing.T) {
	for _, before := range []bool{false, true} {
		l, here, _, _ := watched(t)
		if before {
			l.postponed()
		}
		l.begin(false)
		if l.postponed() {
			t.Error("a read was put off")
		}
		l.look(here)
		l.look(here)
		l.look(here)
		if l.staring() {
			t.Error("the body may still be read")
		}
	}
}
