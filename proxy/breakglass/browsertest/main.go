// Command browsertest serves the pages of emergency access to the browser tests beside
// it: a real Service on a database of its own, and one made-up doctor who has just been
// refused. It prints the addresses as one line of JSON and serves until its standard
// input ends. It is no part of Matron's binary.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	_ "modernc.org/sqlite" // the driver that cmd chooses too

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

func main() {
	if err := run(context.Background(), os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// doctor is the one who asks.
func doctor() policy.Subject {
	return policy.Subject{Issuer: "https://id.example", Sub: "u-1", Person: "S1001", Name: "Dr Pat Example", Roles: []string{"doctor"}, Session: "s"}
}

type everybody struct{}

func (everybody) Identify(*http.Request) (policy.Subject, error) { return doctor(), nil }
func (everybody) Touch(context.Context, policy.Subject)          {}

// kept is an audit.Log that keeps nothing.
type kept struct{}

func (kept) Append(context.Context, ...*audit.Record) (audit.Receipt, error) {
	return audit.Receipt{Source: "gw1", Seq: 1}, nil
}
func (kept) Add(...*audit.Record) error { return nil }

func run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	s, err := service(ctx)
	if err != nil {
		return err
	}
	refused := func(o policy.Offer, patient string, classes ...string) string {
		return s.Offer(ctx, proxy.Refused{
			Offer: o, Request: "01a1a0d9-f100-7ce8-9836-9d65dc51e4a7", Subject: doctor(), Site: "RZZ", App: "epr",
			Patient: proxy.Patient{ID: patient, NHSNumber: "9990000018"}, Rule: "patient", Area: policy.Notes, Return: "/record",
			Reasons:     []policy.Reason{{Code: "no-relationship", Text: "Nothing here shows that you are caring for this patient.", Remedy: "Confirm."}},
			Sensitivity: policy.Sensitivity{Known: true, Classes: classes},
		})
	}
	pages := map[string]string{
		"offer": refused(policy.BreakGlass, "H1001"), "purpose": refused(policy.Purpose, "H1002"), "again": refused(policy.BreakGlass, "H1003", "staff"),
		"list": breakglass.Path, "gone": breakglass.Path + "/none",
	}
	mux := http.NewServeMux()
	mux.Handle(breakglass.Path, s.Handler())
	mux.Handle(breakglass.Path+"/", s.Handler())
	mux.Handle("/.matron/assets/", http.StripPrefix("/.matron/assets/", http.FileServer(http.Dir("dashboards/assets/dist"))))
	mux.HandleFunc("/record", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html><title>Record</title><h1>The record</h1>")
	})
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(ln) }()
	if err := json.NewEncoder(stdout).Encode(map[string]any{"origin": "http://" + ln.Addr().String(), "pages": pages}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

func service(ctx context.Context) (*breakglass.Service, error) {
	db, err := sql.Open("sqlite", "file:browsertest?mode=memory&cache=shared")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(breakglass.Migrations(), "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(breakglass.Migrations(), name)
		if err != nil {
			return nil, err
		}
		if _, err := db.ExecContext(ctx, string(text)); err != nil {
			return nil, err
		}
	}
	return breakglass.New(ctx, breakglass.Config{
		DB: db, Log: kept{}, Logger: slog.New(slog.DiscardHandler), Identifier: everybody{}, SignInPath: "/.matron/sign-in",
		Now:          time.Now, //nolint:forbidigo // the clock of a test server
		Organisation: "Example Hospital", Home: "/record",
		Fresh: func(r proxy.Refused) bool { return slices.Contains(r.Sensitivity.Classes, "staff") },
	})
}
