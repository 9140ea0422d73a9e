package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/export/auditevent"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/bypass"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/cmd/matron/incident"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/hazardlog/store"
	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/breakglass"
	"github.com/matron-epr/matron/proxy/limit"
	"github.com/matron-epr/matron/proxy/signin"
	"github.com/matron-epr/matron/proxy/spool"
	"github.com/matron-epr/matron/proxy/tlscert"
)

// signInPath is where people sign in.
const signInPath = "/.matron/sign-in"

// pagesName is the name of Matron's own pages among the applications.
const pagesName = "matron"

// Options is what New needs besides the configuration.
type Options struct {
	Config     config.Config
	ConfigPath string // read again on reload
	ConfigHash string
	Version    string
	Log        *slog.Logger
	EngineArgs []string // how this binary becomes the ClickHouse engine
	// Ready is called once the gateway takes requests; nil for nobody.
	Ready func(Addresses)
}

// Addresses are where the gateway listens.
type Addresses struct {
	Gateway string // host:port
	Admin   string
	CAFile  string // root that clients must trust, when the certificate is our own
}

// Gateway is everything that serves. New builds it, Run runs it once.
type Gateway struct {
	cfg      config.Config
	settings atomic.Pointer[config.Config] // in force; replaced by reload
	hash     atomic.Pointer[string]        // of the file that settings came from
	modesAt  atomic.Pointer[time.Time]     // when a reload last changed a mode, or the start
	opts     Options
	log      *slog.Logger
	now      func() time.Time
	started  time.Time

	db        *sql.DB
	hazards   *store.Store
	measured  atomic.Pointer[kept] // by the indicators of the hazard log; nil until then
	journal   *journal.Journal
	peers     *peerService // nil where no peer may keep records here
	office    *backOffice
	syslog    *syslogExport
	policy    *rego.Engine
	protected *protected // nil where no source is configured
	fetched   fetched
	promotion *promotion.Desk        // nil where promotion is not demanded
	rulesNote atomic.Pointer[string] // what pages say of rules that are not in force; never nil
	shadow    *shadow
	signin    *signin.Service
	voucher   *signin.Voucher
	emergency *breakglass.Service
	mailer    *mailer // nil where no mail server is configured
	probe     *probe  // nil where none is configured
	certs     *tlscert.Manager
	pages     *dashboards.Site
	own       http.Handler // pages, and the record in the form of FHIR
	proxy     *proxy.Gateway
	detection *detection
	witness   *witness.Server // of other gateways' logs; nil unless configured
	cosigning *cosigning      // of this gateway's; nil unless configured
	metrics   *metrics
	reloads   reloads
	disk      *host.Disk
	clock     *host.Clock
	bypass    *bypass.Control
	care      *careService // nil where no register of care relationships is kept

	authorities atomic.Pointer[map[string]string] // who issues the patients' numbers, by application; replaced by reload
	incident    *incident.Control
	limiter     *limit.Limiter
	machines    atomic.Pointer[map[string]machine] // by client; replaced by reload
}

// New opens the stores and builds every part. It starts nothing. On error
// everything that was opened is closed again.
func New(ctx context.Context, o Options) (_ *Gateway, err error) {
	g := &Gateway{cfg: o.Config, opts: o, log: o.Log, now: time.Now, metrics: newMetrics()}
	g.started = g.now()
	g.modesAt.Store(&g.started)
	g.rulesNote.Store(new(string))
	g.settings.Store(&o.Config)
	g.authorities.Store(patientAuthorities(o.Config))
	g.hash.Store(&o.ConfigHash)
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	for _, step := range []func(context.Context) error{
		g.openStores, g.openMachine, g.openBypass, g.openLimits, g.openCare, g.openPolicy, g.openProtection, g.openShadow, g.openSignIn, g.openEmergency, g.openCertificates, g.openPages, g.openWitness,
		g.openProxy,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	g.watch()
	g.watchMachine()
	g.watchModes()
	g.watchFetched()
	g.probe = g.newProbe()
	g.watchEmergency()
	g.watchCare()
	g.watchLimits()
	return g, nil
}

func journalConfig(c config.Config) journal.Config {
	return journal.Config{Dir: paths{c.DataDir}.journal(), Source: c.Source, Site: c.Site, Now: time.Now}
}

func (g *Gateway) openStores(ctx context.Context) error {
	if !Initialised(g.cfg) {
		return fmt.Errorf("%s: %w", g.cfg.DataDir, ErrNotInitialised)
	}
	var err error
	if g.db, err = openDatabase(ctx, g.cfg, false); err != nil {
		return err
	}
	if err := migrate(ctx, g.cfg, g.db); err != nil {
		return err
	}
	if g.hazards, err = openHazardLog(ctx, g.db); err != nil {
		return err
	}
	if g.peers, err = openPeers(ctx, g.cfg, g.log); err != nil {
		return err
	}
	jc, err := withPlaces(journalConfig(g.cfg), g.cfg)
	if err != nil {
		return err
	}
	jc.Log = g.log
	var public string
	if jc.Signer, jc.Verifier, public, err = checkpointKeys(g.cfg); err != nil {
		return err
	}
	if err := publishKey(g.cfg, public); err != nil && !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.EIO) { // the journal may go on elsewhere
		return err
	}
	if g.journal, err = journal.Open(jc); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if g.cosigning, err = newCosigning(g.cfg, g.journal, g.log, g.now); err != nil {
		return err
	}
	g.office, err = newBackOffice(g.cfg, g.journal, g.opts.EngineArgs, g.log, g.now)
	if err != nil {
		return err
	}
	g.syslog = newSyslogExport(g.cfg, g.journal, g.log, g.now)
	alerts := cases.New(g.db)
	g.detection, err = newDetection(g.cfg, g.office, alerts, g.metrics, g.journal.Add, g.log, g.now)
	return err
}

func (g *Gateway) openSignIn(ctx context.Context) error {
	secret, err := readSecret(g.cfg.SignIn.ClientSecretFile)
	if err != nil {
		return fmt.Errorf("read client secret: %w", err)
	}
	client, err := httpClient(g.cfg.SignIn.CAFile)
	if err != nil {
		return err
	}
	s := g.cfg.SignIn
	g.signin, err = signin.New(ctx, signin.Config{
		Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: secret, ExternalURL: g.cfg.ExternalURL,
		Scopes: s.Scopes, UserInfo: s.Userinfo, HTTPClient: client, DB: g.db, Log: g.journal, Logger: g.log, Now: g.now,
		Idle: s.Idle, Absolute: s.Absolute, Site: g.cfg.Site, Ended: g.sessionEnded, Renewed: g.sessionRenewed,
		StepUp: signin.StepUp(s.StepUp),
		Claims: signin.ClaimMap{
			Person: s.Claims.Person, Name: s.Claims.Name, Roles: s.Claims.Roles, Activities: s.Claims.Activities,
			Organisation: s.Claims.Organisation, RoleID: s.Claims.RoleID, Assurance: s.Claims.Assurance,
			Selected: signin.SelectedRole(s.Claims.Selected), RoleSeparator: s.Claims.RoleSeparator,
		},
		Parameters: s.Parameters, SingleSession: s.SingleSession, MinAssurance: s.MinAssurance, MaxAuthAge: s.MaxAuthAge,
		Bearer: signin.BearerConfig(s.Bearer), Logout: signin.LogoutConfig(s.Logout),
		Service: g.cfg.Branding.ServiceName, Organisation: g.cfg.Branding.Organisation,
	})
	if err != nil {
		return err
	}
	g.metrics.watch("matron_sign_in_auth_time_missing", "1 while no ID token has said when its person signed in, so that signing in again cannot be proved.", func() float64 { return truth(!g.signin.SaysWhen()) })
	key, err := signin.LoadKey(paths{g.cfg.DataDir}.voucherKey())
	if err != nil {
		return err
	}
	g.voucher, err = signin.NewVoucher(signin.VoucherConfig{Key: key, Issuer: g.cfg.ExternalURL, Now: g.now})
	return err
}

func (g *Gateway) openCertificates(ctx context.Context) error {
	t := g.cfg.TLS
	var err error
	g.certs, err = tlscert.New(ctx, tlscert.Config{
		Mode: t.Mode, CertFile: t.CertificateFile, KeyFile: t.KeyFile, Dir: paths{g.cfg.DataDir}.tls(), Names: t.Names,
		ACME: tlscert.ACMEConfig{
			Directory: t.ACME.Directory, Email: t.ACME.Email, CAFile: t.ACME.CAFile,
			EABKeyID: t.ACME.EABKeyID, EABKeyFile: t.ACME.EABKeyFile,
		},
		Logger: g.log, Now: g.now,
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func (g *Gateway) openPages(context.Context) error {
	key, err := readKey(paths{g.cfg.DataDir}.linkKey())
	if err != nil {
		return err
	}
	g.pages, err = dashboards.New(dashboards.Config{
		Site: g.cfg.Site, Key: key, Location: g.detection.location,
		Branding: dashboards.Branding{Organisation: g.cfg.Branding.Organisation, Service: g.cfg.Branding.ServiceName},
		Accesses: index{g.office}, Alerts: g.alertReader(), Hazards: hazardReader{g.hazards}, Safety: g.safety(),
		Decisions: &decisions{cfg: g.cfg, index: index{g.office}, now: g.policy}, Rules: g.ruleBook(),
		Emergencies: emergencyReader{g}, EmergencyUntil: g.emergency.Open,
		Explain: g.detection.explain, Ward: g.wardOf, HospitalNumber: g.detection.hospitalNumber,
		Health: g.health, Record: g.record, May: g.may, Now: g.now, Logger: g.log,
	})
	if err != nil {
		return err
	}
	links, err := newLinkSealer(key, g.cfg.Site)
	if err != nil {
		return err
	}
	fhir := &fhirServer{
		site: g.cfg.Site, url: g.cfg.ExternalURL + fhirBase, version: g.opts.Version, started: g.started,
		index: index{g.office}, convert: Converter(), links: links, hospitalNumber: g.detection.hospitalNumber,
		indexedTo: g.office.indexedTo, record: g.record, may: g.may, location: g.detection.location, now: g.now, log: g.log,
	}
	mux := http.NewServeMux()
	mux.Handle(fhirBase+"/", fhir.handler())
	mux.Handle("/", g.pages.Handler())
	g.own = mux
	return nil
}

func (g *Gateway) alertReader() alertReader {
	return alertReader{store: g.detection.store, names: g.detection.names, last: &runCases{path: CasesFile(g.cfg)}, index: index{g.office}, site: g.cfg.Site, now: g.now}
}

// Converter makes FHIR events of this program's records.
func Converter() auditevent.Converter { return auditevent.New(auditevent.Config{Self: pagesName}) }

// record makes one record of Matron's own doing durable.
func (g *Gateway) record(ctx context.Context, r *audit.Record) error {
	_, err := g.journal.Append(ctx, r)
	return err
}

func (g *Gateway) openProxy(context.Context) error {
	apps, err := g.applications(g.cfg)
	if err != nil {
		return err
	}
	trusted, err := g.cfg.TrustedNetworks()
	if err != nil {
		return err
	}
	held, err := spool.New(spool.Config{Dir: paths{g.cfg.DataDir}.held(), Max: g.cfg.Spool.Max})
	if err != nil {
		return err
	}
	public, publicPaths := g.publicRoutes()
	g.proxy, err = proxy.New(proxy.Config{
		Apps: apps, Identifier: identities{g.signin}, Decider: g.policy, Sensitivity: g.sensitivity, Limiter: g.limiter, Admit: g.admit, Log: g.journal, Logger: g.log, Now: g.now,
		Voucher: g.voucher, TrustedProxies: trusted, MaxHeader: g.cfg.Listen.MaxHeaderBytes, SignInPath: signInPath,
		Public: public, PublicPaths: publicPaths, Spool: held, Observe: g.metrics.observe,
		Home: g.cfg.Home, Service: g.cfg.Branding.ServiceName, Organisation: g.cfg.Branding.Organisation,
		Location: g.detection.location, StrictTransport: g.cfg.TLS.Mode != "local", Space: g.shortage,
		Bypassed: g.bypass.Bypassed, Emergency: g.emergency, Care: g.caring, Ward: g.patientWard,
		StepUp: proxy.StepUp(g.cfg.SignIn.StepUp), Began: g.signin.Began, SignInWorks: g.signin.Answers,
	})
	return err
}

// publicRoutes are answered to anybody: sign-in, its assets and the public keys.
func (g *Gateway) publicRoutes() (http.Handler, []string) {
	mux := http.NewServeMux()
	signInPaths := []string{
		signInPath, "/.matron/callback", "/.matron/sign-out", "/.matron/signed-out", "/.matron/backchannel-logout",
	}
	for _, path := range signInPaths {
		mux.Handle(path, g.signin.Handler())
	}
	mux.Handle(breakglass.Path, g.emergency.Handler())
	mux.Handle(breakglass.Path+"/", g.emergency.Handler())
	mux.Handle("/.matron/keys", g.voucher.Keys())
	mux.Handle("/.matron/assets/", g.pages.Assets())
	all := append(signInPaths, "/.matron/keys", "/.matron/assets/", breakglass.Path, breakglass.Path+"/")
	if g.witness != nil { // other gateways have no session: what they send is signed
		mux.Handle(witnessPath+"/", http.StripPrefix(witnessPath, g.witness))
		all = append(all, witnessPath+"/")
	}
	return mux, all
}

// readSecret reads a secret that the operator put there and nobody else may
// read, without the line end that editors add.
func readSecret(path string) (string, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	for len(raw) > 0 && (raw[len(raw)-1] == '\n' || raw[len(raw)-1] == '\r') {
		raw = raw[:len(raw)-1]
	}
	if len(raw) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return string(raw), nil
}

// httpClient trusts the system's roots, or those in caFile alone.
func httpClient(caFile string) (*http.Client, error) {
	transport, err := transportFor(caFile)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}

func transportFor(caFile string) (*http.Transport, error) {
	t := &http.Transport{Proxy: nil, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", caFile)
	}
	return t, nil
}

func mustParse(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil {
		return &url.URL{} // validated by config; an empty address is refused by proxy
	}
	return u
}

// close closes the stores, the journal last but one: whatever writes records is
// gone by then.
func (g *Gateway) close() error {
	var errs []error
	if g.certs != nil {
		errs = append(errs, g.certs.Close())
	}
	if g.proxy != nil {
		errs = append(errs, g.proxy.Close()) // writes what it owes
	}
	if g.office != nil {
		errs = append(errs, g.office.close())
	}
	if g.witness != nil {
		errs = append(errs, g.witness.Close())
	}
	if g.journal != nil {
		errs = append(errs, g.journal.Close())
	}
	errs = append(errs, g.care.close())
	errs = append(errs, g.peers.close())
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	return errors.Join(errs...)
}
