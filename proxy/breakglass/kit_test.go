package breakglass_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver that cmd chooses too

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/hazardlog/store/pgtest"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

// fault is how an append fails.
type fault uint8

const (
	noFault   fault = iota
	lost            // nothing was written
	persisted       // it was written, and reported as failed
)

// journal is a Log in memory.
type journal struct {
	mu      sync.Mutex
	records []audit.Record
	fault   fault
}

func (j *journal) Append(_ context.Context, records ...*audit.Record) (audit.Receipt, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault == lost {
		return audit.Receipt{}, audit.ErrNotDurable
	}
	for _, r := range records {
		j.records = append(j.records, *r)
	}
	if j.fault == persisted {
		return audit.Receipt{}, audit.ErrNotDurable
	}
	return audit.Receipt{Source: "gw1", Seq: uint64(len(j.records))}, nil
}

func (j *journal) Add(records ...*audit.Record) error {
	_, err := j.Append(context.Background(), records...)
	return err
}

func (j *journal) fail(f fault) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fault = f
}

func (j *journal) of(kind audit.Kind) []audit.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(func(yield func(audit.Record) bool) {
		for _, r := range j.records {
			if r.Kind == kind && !yield(r) {
				return
			}
		}
	})
}

// people identifies by a header, as a session cookie would.
type people struct {
	mu    sync.Mutex
	known map[string]policy.Subject
}

func (p *people) Identify(r *http.Request) (policy.Subject, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name := r.Header.Get("Person"); name {
	case "":
		return policy.Subject{}, proxy.ErrNoSession
	case "unavailable":
		return policy.Subject{}, proxy.ErrIdentityUnavailable
	default:
		return p.known[name], nil
	}
}

func (*people) Touch(context.Context, policy.Subject) {}

func (p *people) set(name string, change func(*policy.Subject)) policy.Subject {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.known[name]
	change(&s)
	p.known[name] = s
	return s
}

// ward is gateways that share a database.
type ward struct {
	t       *testing.T
	file    string
	db      *sql.DB
	log     *journal
	people  *people
	offset  atomic.Int64 // how long it has gone on, by every clock
	stepped atomic.Int64 // by how much the wall clock was put forward
	works   atomic.Bool  // the sign-in service
	changed atomic.Int64
	logged  *buffer
	officer string
	*breakglass.Service
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (w *ward) now() time.Time {
	return time.Date(2026, 11, 3, 14, 2, 0, 0, time.UTC).Add(time.Duration(w.offset.Load() + w.stepped.Load()))
}

func (w *ward) mono() time.Duration { return time.Duration(w.offset.Load()) }

// TestMain runs every test on SQLite and then on PostgreSQL.
func TestMain(m *testing.M) {
	code := m.Run()
	var err error
	if server, err = pgtest.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("and on PostgreSQL:")
	code = max(code, m.Run())
	_ = server.Close()
	os.Exit(code)
}

var (
	server    *pgtest.Server // nil on SQLite
	databases atomic.Int32
)

// openDB opens the database of the ward once more, as another gateway does.
func (w *ward) openDB() *sql.DB {
	w.t.Helper()
	driver, dsn := "sqlite", "file:"+w.file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	if server != nil {
		driver, dsn = "pgx", server.DSN(w.file)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// newDatabase makes the place of a database: a file, or a name on the server.
func newDatabase(t *testing.T) string {
	t.Helper()
	if server == nil {
		return filepath.Join(t.TempDir(), "matron.db")
	}
	name := fmt.Sprintf("ward%d", databases.Add(1))
	if _, err := server.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

func migrate(t *testing.T, db *sql.DB) {
	t.Helper()
	names, err := fs.Glob(breakglass.Migrations(), "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations: %v %v", names, err)
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := fs.ReadFile(breakglass.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{t: t, file: newDatabase(t), log: &journal{}, logged: &buffer{}, people: &people{known: map[string]policy.Subject{}}}
	w.works.Store(true)
	for _, name := range []string{"ada", "ben"} {
		w.people.set(name, func(s *policy.Subject) {
			*s = policy.Subject{
				Issuer: "https://id.example", Sub: name, Person: "p-" + name, Name: "Dr " + name, Roles: []string{"doctor"},
				Session: "session-of-" + name, AuthTime: w.now().Add(-time.Hour),
			}
		})
	}
	w.db = w.openDB()
	migrate(t, w.db)
	w.Service = w.gateway(w.db)
	return w
}

// gateway is one more on the same database.
func (w *ward) gateway(db *sql.DB) *breakglass.Service {
	w.t.Helper()
	s, err := breakglass.New(w.t.Context(), breakglass.Config{
		DB: db, Log: w.log, Logger: slog.New(slog.NewTextHandler(w.logged, nil)), Now: w.now, Mono: w.mono, Identifier: w.people, SignInPath: "/.matron/sign-in",
		Fresh:       func(r proxy.Refused) bool { return slices.Contains(r.Sensitivity.Classes, "staff") },
		Authority:   func(app string) string { return map[string]string{"epr": "MGH", "ris": "MGH", "pacs": "PACS"}[app] },
		SignInWorks: func(context.Context) bool { return w.works.Load() },
		Changed:     func() { w.changed.Add(1) },
		Home:        "/ui/",
		Officer:     w.officer,
		Address: func(s policy.Subject) string {
			if w.officer == "" {
				return ""
			}
			return s.Sub + "@example.org"
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// refused is what the rules refused somebody.
func (w *ward) refused(name, patient string) proxy.Refused {
	return proxy.Refused{
		Offer: policy.BreakGlass, Request: "0190-reference", Subject: w.people.set(name, func(*policy.Subject) {}), Site: "RBA", App: "epr",
		Patient: proxy.Patient{ID: patient}, Source: audit.SourceURL, Certainty: audit.Authoritative, Rule: "patient", Area: policy.Notes,
		Reasons:     []policy.Reason{{Code: "no-relationship", Text: "You do not look after this patient.", Remedy: "Confirm the emergency."}},
		Return:      "/epr/patient/" + patient,
		Sensitivity: policy.Sensitivity{Known: true},
	}
}

type answer struct {
	status   int
	location string
	body     string
	header   http.Header
}

func (w *ward) ask(s *breakglass.Service, name, method, path string, form url.Values, headers ...string) answer {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Person", name)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header().Get("Location"), rec.Body.String(), rec.Header()}
}

func emergency() url.Values { return url.Values{"reason": {"emergency"}} }

// breaks has somebody break the glass of a patient.
func (w *ward) breaks(name, patient string) {
	w.t.Helper()
	path := w.Offer(w.t.Context(), w.refused(name, patient))
	if a := w.ask(w.Service, name, "POST", path, emergency()); a.status != http.StatusSeeOther {
		w.t.Fatalf("got %d %s", a.status, a.body)
	}
}

// in reports whether a gateway lets ada into the record of patient 4711.
func (w *ward) in(s *breakglass.Service) bool {
	return s.Granted(w.people.set("ada", func(*policy.Subject) {}), "RBA", "epr", onePatient()).ID != ""
}

func onePatient() []proxy.Patient { return []proxy.Patient{{ID: "4711"}} }

// turn has Run of a gateway do its last turn.
func turn(t *testing.T, s *breakglass.Service) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
