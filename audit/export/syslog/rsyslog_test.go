package syslog_test

import (
	"testing"

	"github.com/matron-epr/matron/audit/export/syslog"
)

// TestACollectorThatIsKilledLosesNothing kills rsyslogd with messages in its
// memory that its TCP has acknowledged, and while it is down.
// hazard:GW-12 control:C-51
func TestACollectorThatIsKilledLosesNothing(t *testing.T) {
	a := newAuthority(t)
	c := newCollector(t, a, "anon")
	g := newGateway(t, syslog.Peer{Address: c.address, ServerName: "localhost", CAFile: a.path("ca.pem")})
	for round := range 3 {
		last := g.add(100)
		until(t, "records arrive", func() bool { return len(c.missing(last)) == 0 && g.Status().Sent >= last })
		g.clock.forward()
		until(t, "the cursor moves over what is safe", func() bool {
			g.add(1) // its acknowledgement is the sign of life
			return g.Status().Confirmed >= last
		})

		c.freeze()
		last = g.add(10)
		until(t, "the collector's TCP acknowledges", func() bool { return g.Status().Sent >= last })
		if len(c.missing(last)) < 10 {
			t.Fatal("a stopped collector wrote: the test proves nothing")
		}
		c.kill()
		last = g.add(50)
		c.start()
		until(t, "every record arrives", func() bool { return len(c.missing(last)) == 0 }, func() {
			t.Errorf("round %d: lost %v", round, c.missing(last))
		})
	}
	twice := 0
	for seq, texts := range c.messages() {
		for _, text := range texts {
			if _, err := validate(text); err != nil {
				t.Fatalf("record %d: %v", seq, err)
			}
			if text != texts[0] {
				t.Fatalf("record %d came with two contents", seq)
			}
		}
		twice += len(texts) - 1
	}
	t.Logf("%d records, %d came more than once", len(c.messages()), twice)
}

func TestWhomRsyslogTalksTo(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	c := newCollector(t, a, "x509/certvalid")
	cert, key := a.issue("gw1.example.org")
	good := syslog.Peer{Address: c.address, ServerName: "localhost", CAFile: a.path("ca.pem"), CertificateFile: cert, KeyFile: key}

	foreign, bare, misnamed, unreadable := good, good, good, good
	foreign.CAFile = stranger.path("ca.pem")
	bare.CertificateFile, bare.KeyFile = "", ""
	misnamed.ServerName = "collector.example.org"
	unreadable.KeyFile = a.path("none.key")
	for _, row := range []struct {
		name  string
		peer  syslog.Peer
		codes []string
	}{
		{"its certificate is not ours to trust", foreign, []string{syslog.CodeCertificate}},
		{"its certificate has another name", misnamed, []string{syslog.CodeCertificate}},
		{"we show no certificate", bare, []string{syslog.CodeRefused, syslog.CodeClosed, syslog.CodeUnreachable}},
		{"our key is not there", unreadable, []string{syslog.CodeFiles}},
	} {
		g := newGateway(t, row.peer)
		g.add(1)
		until(t, row.name, func() bool {
			got := g.Status().LastError
			for _, code := range row.codes {
				if got == code {
					return true
				}
			}
			return false
		})
		if st := g.Status(); st.Confirmed != 0 || len(c.messages()) != 0 {
			t.Errorf("%s: %+v, %d messages got through", row.name, st, len(c.messages()))
		}
	}
	g := newGateway(t, good)
	last := g.add(5)
	until(t, "with a certificate of theirs", func() bool { return len(c.missing(last)) == 0 })
}
