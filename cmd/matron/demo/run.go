// Package demo runs a demonstration hospital on one machine: a patient record,
// a sign-in service, the gateway and simulated staff.
//
// It never listens beyond loopback, and nobody in it is real. Run may be called
// once per folder at a time.
package demo

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/demo/fhirepr"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	gatewaysignin "github.com/matron-epr/matron/proxy/signin"
)

// seed makes every demonstration hospital the same.
const seed = 999

// settleTime bounds the wait for the last records to become searchable.
const settleTime = 60 * time.Second

// Options says where and how the demonstration runs.
type Options struct {
	Dir        string  // everything it keeps
	Port       int     // of the gateway; 0 takes a free one
	Rate       float64 // application requests a second; 0 means the default
	Version    string
	EngineArgs []string
	Log        *slog.Logger
	Ready      func(Addresses) // called once everything serves
	// Play is a folder of "matron simulate hospital" whose last day the staff live
	// again instead of working as they like; "" for none.
	Play string
	// Played is told of each thing done of how many that day holds.
	Played func(done, of int)
}

// Run runs the demonstration until ctx ends, then stops everything and counts.
func Run(ctx context.Context, o Options) (Counts, error) {
	w := &world{opts: o, began: time.Now()}
	var err error
	if o.Play == "" {
		w.hospital, err = hospital.Open(o.Dir, seed, time.Now())
	} else {
		w.hospital, w.played, err = openSimulated(o.Play, time.Now())
	}
	if err != nil {
		return Counts{}, fmt.Errorf("open the hospital: %w", err)
	}
	if err := w.writeFeeds(); err != nil {
		return Counts{}, fmt.Errorf("write what detection reads: %w", err)
	}
	if err := w.prepare(ctx); err != nil {
		return Counts{}, errors.Join(err, w.close())
	}
	counts, err := w.run(ctx)
	return counts, errors.Join(err, w.close())
}

// world is everything that runs during one demonstration.
type world struct {
	opts     Options
	hospital *hospital.Hospital
	played   *played // nil when the staff work as they like
	config   config.Config
	hash     string

	gatewayURL string
	password   string // of everybody's account in the openMAXIMS emulator
	provider   *signin.Provider
	epr        *fhirepr.EPR
	admissions *admissions
	servers    []*served
	before     tally // what the folder held at the start
	began      time.Time
}

// writeFeeds puts what detection reads into the folder.
func (w *world) writeFeeds() error {
	if err := w.hospital.WriteFiles(w.opts.Dir); err != nil || w.played == nil {
		return err
	}
	devices, err := os.ReadFile(filepath.Join(w.opts.Play, "devices.ndjson"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.opts.Dir, "devices.ndjson"), devices, 0o600) //nolint:gosec // the demonstration's own folder
}

// served is one server on loopback.
type served struct {
	server interface {
		Serve(l net.Listener) error
		Close() error
	}
	listener net.Listener
}

func (w *world) serve(l net.Listener, h http.Handler) {
	w.servers = append(w.servers, &served{listener: l, server: &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
	}})
}

// prepare builds every part in the order in which they need each other.
func (w *world) prepare(ctx context.Context) error {
	port, err := freePort(ctx, w.opts.Port)
	if err != nil {
		return err
	}
	w.gatewayURL = fmt.Sprintf("https://localhost:%d", port)
	signInPort := 0
	if w.opts.Port != 0 {
		signInPort = port + 1 // the same at each start, so that sessions live on
	}
	signInAt, err := loopback(ctx, signInPort)
	if err != nil {
		return err
	}
	issuer := fmt.Sprintf("http://localhost:%d", signInAt.Addr().(*net.TCPAddr).Port)
	w.provider, err = signin.New(signin.Config{
		Hospital: w.hospital, Dir: w.opts.Dir, Issuer: issuer,
		Redirects:  []string{w.gatewayURL + "/.matron/callback"},
		PostLogout: []string{w.gatewayURL + "/.matron/signed-out"},
		Now:        time.Now, Log: w.opts.Log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("sign-in service: %w", err), signInAt.Close())
	}
	w.serve(signInAt, w.provider)
	eprAt, err := loopback(ctx, 0)
	if err != nil {
		return err
	}
	if err := w.configure(ctx, port, issuer, eprAt.Addr().String()); err != nil {
		return errors.Join(err, eprAt.Close())
	}
	return w.openEPR(eprAt)
}

// openEPR starts the records, which believe nobody but the gateway. The emulator of
// openMAXIMS checks nothing by itself, as the original: it is let see only what
// the gateway vouches for.
func (w *world) openEPR(l net.Listener) error {
	key, err := gatewaysignin.LoadKey(filepath.Join(w.opts.Dir, "keys", "voucher.pem"))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	w.epr, err = fhirepr.New(fhirepr.Config{
		Hospital: w.hospital, Dir: w.opts.Dir, Keys: []crypto.PublicKey{key.Public()}, Issuer: w.gatewayURL,
		Public: w.gatewayURL, SignOut: "/.matron/sign-out", Now: time.Now, Log: w.opts.Log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("patient record: %w", err), l.Close())
	}
	w.password = strings.ToLower(rand.Text()[:10])
	maxims, err := openmaxims.New(openmaxims.Config{
		Hospital: w.hospital, Password: w.password, LoginAttempts: 5, Now: time.Now, Log: w.opts.Log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("openMAXIMS emulator: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle(openmaxims.Base+"/", w.epr.FromGateway(maxims))
	mux.Handle("/", w.epr)
	w.serve(l, mux)
	return nil
}

// configure writes the gateway's configuration as an operator would, reads it
// back, and makes its data folder.
func (w *world) configure(ctx context.Context, port int, issuer, epr string) error {
	messagesPort := 0
	if w.opts.Port != 0 {
		messagesPort = port + 2
	}
	messagesPort, err := freePort(ctx, messagesPort)
	if err != nil {
		return err
	}
	set := settings{Site: hospital.Site, Issuer: issuer, EPR: epr, Port: port, Devices: w.played != nil}
	if w.played == nil {
		set.Messages, set.Sender, set.SenderApp = fmt.Sprintf("127.0.0.1:%d", messagesPort), admissionsName, admissionsApp
		if w.admissions, err = newAdmissions(w.hospital, w.opts.Dir, set.Messages, w.opts.Log); err != nil {
			return fmt.Errorf("admission system: %w", err)
		}
		if set.Mail, err = w.takeMail(ctx); err != nil {
			return fmt.Errorf("mail server: %w", err)
		}
	}
	path := filepath.Join(w.opts.Dir, "matron.yaml")
	if err := set.write(path); err != nil {
		return err
	}
	for name, text := range map[string]string{"client.secret": w.provider.ClientSecret() + "\n", "pages-map.yaml": pagesMap} {
		if err := os.WriteFile(filepath.Join(w.opts.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if w.config, w.hash, err = config.Load(path); err != nil {
		return fmt.Errorf("configuration of the demonstration: %w", err)
	}
	if err := gateway.Init(ctx, w.config); err != nil {
		return err
	}
	w.before, err = tallyJournal(w.config)
	return err
}

// takeMail adds the mail server and returns where it is.
func (w *world) takeMail(ctx context.Context) (address string, err error) {
	l, err := loopback(ctx, 0)
	if err != nil {
		return "", err
	}
	server, secure, err := newMailbox(filepath.Join(w.opts.Dir, "mail"), l, w.admissions.mail)
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	w.servers = append(w.servers, &served{server: server, listener: secure})
	return fmt.Sprintf("%s:%d", mailName, l.Addr().(*net.TCPAddr).Port), nil
}

// run serves until ctx ends. The staff stop first, then their last records
// become searchable, then everything else stops.
func (w *world) run(ctx context.Context) (counts Counts, err error) {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, serving := errgroup.WithContext(serving)
	for _, s := range w.servers {
		group.Go(func() error { return ended(s.server.Serve(s.listener)) })
	}
	ready := make(chan gateway.Addresses, 1)
	g, err := gateway.New(serving, gateway.Options{
		Config: w.config, ConfigPath: filepath.Join(w.opts.Dir, "matron.yaml"), ConfigHash: w.hash,
		Version: w.opts.Version, Log: w.opts.Log, EngineArgs: w.opts.EngineArgs,
		Ready: func(a gateway.Addresses) { ready <- a },
	})
	if err != nil {
		return counts, errors.Join(err, w.closeServers(), group.Wait())
	}
	group.Go(func() error { return g.Run(serving, nil) })
	group.Go(func() error {
		defer stop()
		select {
		case a := <-ready:
			worked, err := w.work(ctx, serving, a)
			counts = w.count(serving, worked)
			return err
		case <-serving.Done():
			return nil
		}
	})
	group.Go(func() error {
		<-serving.Done()
		return w.closeServers()
	})
	err = group.Wait()
	return counts, err
}

// work lets the staff work until ctx ends or the gateway does.
func (w *world) work(ctx, serving context.Context, a gateway.Addresses) (staff.Counts, error) {
	roots, err := rootsOf(a.CAFile)
	if err != nil {
		return staff.Counts{}, err
	}
	if w.played == nil {
		if err := w.admissions.history(serving); err != nil {
			return staff.Counts{}, err
		}
	}
	if w.opts.Ready != nil {
		w.opts.Ready(w.addresses(a))
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(serving, cancel)()
	if w.played != nil {
		return w.play(working, roots), nil
	}
	var telling sync.WaitGroup
	telling.Go(func() { w.admissions.run(working) })
	defer telling.Wait()
	return staff.Run(working, w.staff(roots)), nil
}

// staff is how the staff reach what they work with.
func (w *world) staff(roots *x509.CertPool) staff.Config {
	return staff.Config{
		Gateway: w.gatewayURL, CA: roots, Hospital: w.hospital, Rate: w.opts.Rate, Seed: uint64(time.Now().UnixNano()),
		FHIR: "/fhir", UI: "/ui", SignOut: "/.matron/sign-out",
		Dashboards: []string{"/.matron/", "/.matron/lookup", "/.matron/alerts", "/.matron/live", "/.matron/hazards"},
		TokenURL:   w.provider.TokenURL(), ClientID: signin.APIClientID, ClientSecret: w.provider.APIClientSecret(),
		Now: time.Now, Log: w.opts.Log,
	}
}

func (w *world) closeServers() error {
	var errs []error
	for _, s := range w.servers {
		errs = append(errs, ended(s.server.Close()))
	}
	return errors.Join(errs...)
}

func (w *world) close() error {
	errs := []error{w.closeServers()}
	for _, s := range w.servers {
		_ = s.listener.Close() // closed already when it has served
	}
	if w.epr != nil {
		errs = append(errs, w.epr.Close())
	}
	if w.provider != nil {
		errs = append(errs, w.provider.Close())
	}
	return errors.Join(errs...)
}

func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

// loopback listens on port, or on a free one for 0, and says who must move when
// it is taken.
func loopback(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("port %d is taken: stop what uses it, or give another with --port: %w", port, err)
	}
	return l, nil
}

// freePort returns port when it is free, or any free one for 0.
func freePort(ctx context.Context, port int) (int, error) {
	l, err := loopback(ctx, port)
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func rootsOf(caFile string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(caFile) //nolint:gosec // made by the gateway in its own folder
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return pool, nil
}
