package history_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/pseudonym"
)

func now() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

func hasher(t testing.TB) pseudonym.Hasher {
	t.Helper()
	h, err := pseudonymHasher()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func pseudonymHasher() (pseudonym.Hasher, error) { return pseudonym.New(bytes.Repeat([]byte{7}, 32)) }

// line is the nth access of a hospital of 2,500 staff and 70,000 patients: 40
// accesses a minute, a patient's accesses in runs.
func line(n int) string {
	at := now().AddDate(0, -2, 0).Add(time.Duration(n) * 1500 * time.Millisecond)
	patient := n / 5 * 7919 % 70_000
	return fmt.Sprintf(`{"id":"e%09d","time":%q,"person":"S%04d","action":%q,"source":"pas","app":"epr","role":"nurse","session":"s%06d",`+
		`"device":"WARD%02d-PC%d","ip":"10.1.%d.%d","area":"results","screen":"Results.Summary","resource":"Observation","patient":"P%06d",`+
		`"nhs_number":%q,"deliberate":true,"purpose":"TREAT","break_glass":false,"outcome":"success","bytes":%d,"results":%d}`+"\n",
		n, at.Format(time.RFC3339Nano), n*31%2500, []string{"read", "search", "list", "update"}[n%4], n/20, n%30, n%9, n%30, n%9,
		patient, nhsNumber(patient), 1000+n%5000, n%20)
}

// nhsNumber is a synthetic number with a right check digit.
func nhsNumber(n int) string {
	for digits := 999_000_000 + n*3%1_000_000; ; digits++ {
		sum := 0
		for i, d := range fmt.Sprint(digits) {
			sum += int(d-'0') * (10 - i)
		}
		if check := (11 - sum%11) % 11; check != 10 {
			return fmt.Sprintf("%d%d", digits, check)
		}
	}
}

func BenchmarkParseAccess(b *testing.B) {
	p := history.NewParser(history.ParserConfig{Site: "RBA", Hasher: hasher(b), Now: now()})
	lines := make([][]byte, 10_000)
	for i := range lines {
		lines[i] = []byte(line(i))
	}
	b.SetBytes(int64(len(lines[0])))
	b.ReportAllocs()
	rows := make([]audit.Imported, 0, 1000)
	for i := 0; b.Loop(); i++ {
		var err error
		if rows, _, err = p.ParseAccess(rows[:0], lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkImport takes in files of 200,000 lines and inserts the same rows
// bare. It prints CPU seconds of both processes for a million lines, the ratio
// of the two ways, and the rate, which says something on a quiet machine only.
func BenchmarkImport(b *testing.B) {
	const many = 200_000
	store, e := newStore(b)
	var whole, bare [2]float64
	var took time.Duration
	for round := 0; b.Loop(); round++ {
		source := fmt.Sprintf(`"round%d"`, round)
		text := strings.ReplaceAll(lines(0, many), `"pas"`, source)
		rows := parsed(b, strings.ReplaceAll(text, source, `"bare"`))
		began := time.Now()
		worked := measure(b, e, func() {
			s, _, err := run(b.Context(), b, store, strings.NewReader(text), nil)
			if err != nil || s.Imported != many {
				b.Fatal(s, err)
			}
		})
		took += time.Since(began)
		inserted := measure(b, e, func() {
			for at := 0; at < many; at += 50_000 {
				if err := store.InsertImported(b.Context(), fmt.Sprintf("bare%d/%d", round, at), rows[at:at+50_000]); err != nil {
					b.Fatal(err)
				}
			}
		})
		for i := range whole {
			whole[i] += worked[i]
			bare[i] += inserted[i]
		}
	}
	b.ReportMetric(many*float64(b.N)/took.Seconds(), "lines/s")
	perMillion := 1e6 / many / float64(b.N)
	b.ReportMetric(whole[0]*perMillion, "client-s/M")
	b.ReportMetric(whole[1]*perMillion, "server-s/M")
	b.ReportMetric(bare[0]*perMillion, "bare-client-s/M")
	b.ReportMetric(bare[1]*perMillion, "bare-server-s/M")
	b.ReportMetric((whole[0]+whole[1])/(bare[0]+bare[1]), "ratio")
}

func parsed(b *testing.B, text string) []audit.Imported {
	b.Helper()
	p := history.NewParser(history.ParserConfig{Site: "RBA", Hasher: hasher(b), Now: now()})
	var rows []audit.Imported
	for l := range strings.Lines(text) {
		var err error
		if rows, _, err = p.ParseAccess(rows, []byte(l)); err != nil {
			b.Fatal(err)
		}
	}
	return rows
}

// measure is how many seconds this process and the engine have worked for f.
func measure(b *testing.B, e *engine.Engine, f func()) [2]float64 {
	b.Helper()
	before := [2]float64{cpu(b, os.Getpid()), cpu(b, e.PID())}
	f()
	return [2]float64{cpu(b, os.Getpid()) - before[0], cpu(b, e.PID()) - before[1]}
}

// cpu is how many seconds a process has worked.
func cpu(b *testing.B, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var user, system float64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100 // USER_HZ
}
