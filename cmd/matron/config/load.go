package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matron-epr/matron/proxy/strictyaml"
)

// maxBytes bounds the configuration file.
const maxBytes = 1 << 20

// Load reads, checks and completes the file at path. The error holds every
// mistake as strictyaml.Problems. Relative paths in the file are taken from the
// folder it stands in. hash identifies the file's content in the record.
func Load(path string) (c Config, hash string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return Config{}, "", fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxBytes {
		return Config{}, "", fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxBytes)
	}
	src, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Config{}, "", fmt.Errorf("read configuration: %w", err)
	}
	c, err = Parse(path, src)
	sum := sha256.Sum256(src)
	return c, hex.EncodeToString(sum[:]), err
}

// Parse is Load for text that is already in memory.
func Parse(path string, src []byte) (Config, error) {
	c := Defaults()
	doc := strictyaml.Decode(path, src, &c)
	c.complete(filepath.Dir(path))
	for _, p := range c.Validate() {
		doc.Report(p.Path, p.Text)
	}
	if err := doc.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Defaults returns every setting that has one.
func Defaults() Config {
	return Config{
		Listen: Listen{MaxHeaderBytes: 64 << 10, DrainTimeout: 30 * time.Second},
		Admin:  Admin{Address: "127.0.0.1:9443"},
		SignIn: SignIn{
			Scopes:   []string{"profile"},
			Idle:     15 * time.Minute,
			Absolute: 12 * time.Hour,
			StepUp:   StepUp{MaxAge: 5 * time.Minute},
			Claims: Claims{
				Person: "sub", Name: "name", Roles: "roles", Activities: "activities", Organisation: "org",
				RoleID: "selected_roleid", Assurance: "authentication_assurance_level",
			},
		},
		Policy: Policy{Promotion: PromotionOff, Bundle: PolicyBundle{Algorithm: "RS256", Poll: time.Minute}, Timeout: 250 * time.Millisecond},
		Care:   Care{Silence: 30 * time.Minute, WardComponent: 1, FHIR: CareFHIR{Every: time.Minute}},
		Limits: Limits{
			Interactive: Rate{PerSecond: 20, Burst: 120},
			Search:      Rate{PerSecond: 2, Burst: 30},
			Bulk:        Rate{PerSecond: 0.1, Burst: 3},
			Machine:     Rate{PerSecond: 50, Burst: 200},
			MaxWait:     2 * time.Second,
			Patients: Patients{
				Shift: 12 * time.Hour, Pause: time.Second,
				Default: PatientBudget{Hour: 100, Shift: 400, ListedHour: 2000, ListedShift: 6000},
			},
			Incident: Incident{Longest: 12 * time.Hour},
		},
		ClickHouse: ClickHouse{Protocol: "native", Database: "matron"},
		Detection:  Detection{Every: 15 * time.Second, Budget: 20},
		Export:     Export{Syslog: Syslog{MaxMessage: 32768, Window: 30 * time.Second, From: 1}},
		Branding:   Branding{ServiceName: "Matron"},
		Home:       "/.matron/",
		Log:        Log{Level: "info", Format: "text"},
		Witness:    Witness{Timeout: 5 * time.Second},
		Journal:    Journal{AppendTimeout: 250 * time.Millisecond, Emergency: 256 << 20, KeepPlain: 2, Watermarks: []int{80, 90, 95}},
		Peers:      Peers{MaxBytes: 4 << 30},
		Retention:  Retention{KeepYears: 8},
		Bypass:     Bypass{Longest: 4 * time.Hour},
		BreakGlass: BreakGlass{Lasts: time.Hour, SignInAgain: []string{"staff", "vip"}, Reviewer: "the privacy officer", ReviewDays: 5, Probe: BreakGlassProbe{Every: 5 * time.Minute}},
		HazardLog:  HazardLog{MeasureEvery: time.Hour},
	}
}

// complete fills in what follows from other settings.
func (c *Config) complete(dir string) {
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, mappings := range []map[string]string{c.Detection.Mappings, c.Sensitivity.Mappings} {
		for feed, path := range mappings {
			if path != "" && !filepath.IsAbs(path) {
				mappings[feed] = filepath.Join(dir, path)
			}
		}
	}
	if len(c.ClickHouse.Address) == 0 {
		c.ClickHouse.Embedded = true
	}
	for i := range c.Applications {
		c.Applications[i].complete(c.Site, dir)
	}
	for role, b := range c.Limits.Patients.Roles {
		c.Limits.Patients.Roles[role] = b.or(c.Limits.Patients.Default)
	}
	for i := range c.Machines {
		c.Machines[i].Patients = c.Machines[i].Patients.or(PatientBudget{NoBudget, NoBudget, NoBudget, NoBudget})
	}
	if c.Spool.Max == 0 {
		c.Spool.Max = 1 << 30
	}
	c.Export.Syslog.complete()
	if len(c.TLS.Names) == 0 {
		if host := hostOf(c.ExternalURL); host != "" {
			c.TLS.Names = []string{host}
		}
	}
}

func (a *Application) complete(site, dir string) {
	if a.Mode == "" {
		a.Mode = "enforce"
	}
	if a.Site == "" {
		a.Site = site
	}
	if a.Timeout == 0 {
		a.Timeout = 30 * time.Second
	}
	if a.MaxBody == 0 {
		a.MaxBody = 32 << 20
	}
	if a.MaxRead == 0 {
		a.MaxRead = 16 << 20
	}
	if a.MaxHeld == 0 {
		a.MaxHeld = 8 << 20
	}
	if a.MaxSpooled == 0 {
		a.MaxSpooled = 256 << 20
	}
	if isPath(a.Map) && !filepath.IsAbs(a.Map) {
		a.Map = filepath.Join(dir, a.Map)
	}
	if a.CAFile != "" && !filepath.IsAbs(a.CAFile) {
		a.CAFile = filepath.Join(dir, a.CAFile)
	}
}

// complete adds the port that RFC 5425 gives syslog over TLS.
func (s *Syslog) complete() {
	host := strings.TrimSuffix(strings.TrimPrefix(s.Address, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || s.Address != "" && !strings.Contains(s.Address, ":") {
		s.Address = net.JoinHostPort(host, "6514")
	}
}

// paths lists every setting that is a path.
func (c *Config) paths() []*string {
	paths := []*string{
		&c.DataDir, &c.TLS.CertificateFile, &c.TLS.KeyFile, &c.TLS.ACME.CAFile, &c.TLS.ACME.EABKeyFile,
		&c.SignIn.ClientSecretFile, &c.Database.URLFile, &c.SignIn.CAFile, &c.Policy.Dir, &c.Policy.Candidate, &c.Policy.Bundle.KeyFile, &c.Policy.Bundle.CAFile, &c.ClickHouse.Library,
		&c.ClickHouse.PasswordFile, &c.ClickHouse.CAFile, &c.Sensitivity.Patients, &c.Sensitivity.Staff,
		&c.Detection.Staff, &c.Detection.Templates, &c.Detection.Rota,
		&c.Detection.Patients, &c.Detection.Care, &c.Detection.Devices,
		&c.Care.CertificateFile, &c.Care.KeyFile, &c.Care.CAFile, &c.Care.Staff, &c.Care.Rota, &c.Care.Devices, &c.Care.FHIR.CAFile, &c.Care.FHIR.TokenFile,
		&c.Export.Syslog.CAFile, &c.Export.Syslog.CertificateFile, &c.Export.Syslog.KeyFile,
		&c.Witness.PolicyFile, &c.Notices.CAFile, &c.Notices.PasswordFile,
		&c.Journal.Archive, &c.Journal.Second.Dir, &c.Journal.Second.Peer.CertificateFile, &c.Journal.Second.Peer.KeyFile,
		&c.Journal.Second.Peer.CAFile, &c.Peers.CertificateFile, &c.Peers.KeyFile, &c.Peers.CAFile,
	}
	for i := range c.Witness.Witnesses {
		paths = append(paths, &c.Witness.Witnesses[i].KeyFile, &c.Witness.Witnesses[i].CAFile)
	}
	for _, approvers := range [][]Approver{c.Retention.Approvers, c.Bypass.People, c.Limits.Incident.People} {
		for i := range approvers {
			paths = append(paths, &approvers[i].KeyFile)
		}
	}
	paths = append(paths, &c.HazardLog.TextsFile)
	paths = append(paths, &c.HazardLog.TraceFile)
	for i := range c.HazardLog.Officers {
		paths = append(paths, &c.HazardLog.Officers[i].KeyFile)
	}
	for i := range c.Witnessing.Logs {
		paths = append(paths, &c.Witnessing.Logs[i].KeyFile)
	}
	return paths
}

// isPath tells the path of a map file from the name of a built-in map.
func isPath(m string) bool {
	return m != "" && (filepath.Ext(m) != "" || filepath.Base(m) != m)
}

// TrustedNetworks returns listen.trusted_proxies as networks.
func (c Config) TrustedNetworks() ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(c.Listen.TrustedProxies))
	for i, text := range c.Listen.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("listen.trusted_proxies[%d]: %w", i, err)
		}
		networks[i] = network
	}
	return networks, nil
}
