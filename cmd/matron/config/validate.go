package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/proxy/strictyaml"
)

// sourcePattern is what the name of a gateway looks like.
const sourcePattern = `^[a-z0-9][a-z0-9-]{0,31}$`

// Problem is one mistake that only the meaning of the settings shows.
type Problem struct {
	Path string // setting, for example applications[0].prefix
	Text string // what is wrong and what to do
}

// Validate returns every mistake. It is pure: it opens no file and no
// connection.
func (c Config) Validate() []Problem {
	var ps problems
	ps.matches("site", c.Site, `^[A-Z0-9]{3,10}$`, "an ODS code, for example RBA")
	ps.matches("source", c.Source, sourcePattern, "a short lower-case name, for example gw1")
	ps.required("data_dir", c.DataDir)
	ps.address("external_url", c.ExternalURL, "https")
	ps.matches("home", c.Home, `^/[^/\\]`, "a path below the address, for example /ui/")
	ps.listener("listen.address", c.Listen.Address)
	for i, network := range c.Listen.TrustedProxies {
		if _, err := netip.ParsePrefix(network); err != nil {
			ps.add(fmt.Sprintf("listen.trusted_proxies[%d]", i), "%q is not a network: write for example 10.1.2.0/24", network)
		}
	}
	ps.within("listen.max_header_bytes", c.Listen.MaxHeaderBytes, 4<<10, 1<<20)
	ps.loopback("admin.address", c.Admin.Address)
	c.TLS.validate(&ps)
	c.SignIn.validate(&ps)
	c.Policy.validate(&ps)
	c.Care.validate(&ps)
	c.Limits.validate(&ps)
	c.validateMachines(&ps)
	if c.Spool.Max < 0 {
		ps.add("spool.max", "must not be negative")
	}
	c.validateApplications(&ps)
	c.ClickHouse.validate(&ps)
	ps.positive("detection.every", c.Detection.Every)
	ps.within("detection.budget", c.Detection.Budget, 1, 1000)
	for _, feed := range slices.Sorted(maps.Keys(c.Detection.Mappings)) {
		if !slices.Contains([]string{"staff", "rota", "patients", "care", "devices"}, feed) {
			ps.add("detection.mappings."+feed, "is no feed: the feeds are staff, rota, patients, care, devices")
		}
	}
	for _, feed := range slices.Sorted(maps.Keys(c.Sensitivity.Mappings)) {
		if feed != "staff" && feed != "patients" {
			ps.add("sensitivity.mappings."+feed, "is no file here: the files are patients and staff")
		}
	}
	c.Export.Syslog.validate(&ps)
	ps.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	ps.oneOf("log.format", c.Log.Format, "text", "json")
	c.Witness.validate(&ps)
	c.Witnessing.validate(&ps)
	c.Journal.validate(&ps, c.Source)
	c.Peers.validate(&ps, c.Source)
	c.Retention.validate(&ps)
	c.Bypass.validate(&ps)
	c.HazardLog.validate(&ps)
	c.BreakGlass.validate(&ps)
	c.Notices.validate(&ps)
	return ps
}

func (t TLS) validate(ps *problems) {
	ps.oneOf("tls.mode", t.Mode, "files", "local", "acme")
	switch t.Mode {
	case "files":
		ps.required("tls.certificate_file", t.CertificateFile)
		ps.required("tls.key_file", t.KeyFile)
	case "acme":
		ps.address("tls.acme.directory", t.ACME.Directory, "https")
		if (t.ACME.EABKeyID == "") != (t.ACME.EABKeyFile == "") {
			ps.add("tls.acme", "eab_key_id and eab_key_file belong together: give both or neither")
		}
	}
}

func (s SignIn) validate(ps *problems) {
	ps.address("sign_in.issuer", s.Issuer, "https", "http")
	if u, err := url.Parse(s.Issuer); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		ps.add("sign_in.issuer", "must be https, since it is not on this machine")
	}
	ps.required("sign_in.client_id", s.ClientID)
	ps.required("sign_in.client_secret_file", s.ClientSecretFile)
	ps.positive("sign_in.idle", s.Idle)
	ps.positive("sign_in.absolute", s.Absolute)
	if s.StepUp.MaxAge < 0 {
		ps.add("sign_in.step_up.max_age", "must not be negative")
	}
	if s.Idle > s.Absolute {
		ps.add("sign_in.idle", "must not be longer than sign_in.absolute (%s)", s.Absolute)
	}
	s.validateClaims(ps)
}

func (p Policy) validate(ps *problems) {
	ps.positive("policy.timeout", p.Timeout)
	ps.oneOf("policy.promotion", p.Promotion, PromotionOff, PromotionRequired)
	b := p.Bundle
	ps.positive("policy.bundle.poll", b.Poll)
	ps.oneOf("policy.bundle.algorithm", b.Algorithm, "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
	if b.URL == "" {
		if b.KeyFile != "" || b.CAFile != "" || b.Scope != "" {
			ps.add("policy.bundle.url", "is missing: give the address of the bundle, for example https://rules.example.org/bundle.tar.gz")
		}
		return
	}
	ps.address("policy.bundle.url", b.URL, "https", "http")
	if u, err := url.Parse(b.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		ps.add("policy.bundle.url", "must be https, since it is not on this machine")
	}
	ps.required("policy.bundle.key_file", b.KeyFile)
	if p.Dir != "" && p.Promotion == PromotionOff {
		ps.add("policy.dir", "has no meaning beside policy.bundle, unless policy.promotion is required: remove one of them")
	}
}

func (c Config) validateApplications(ps *problems) {
	if len(c.Applications) == 0 {
		ps.add("applications", "is missing: name at least one application with prefix, upstream and map")
	}
	names, prefixes := map[string]int{}, map[string]int{}
	for i, a := range c.Applications {
		at := fmt.Sprintf("applications[%d]", i)
		ps.matches(at+".name", a.Name, `^[a-z0-9][a-z0-9-]{0,31}$`, "a short lower-case name, for example fhir")
		ps.unique(at+".name", a.Name, i, names)
		ps.matches(at+".prefix", a.Prefix, `^(/|(/[A-Za-z0-9._~-]+)+)$`, "a path without a slash at its end, for example /fhir, or / alone")
		ps.unique(at+".prefix", a.Prefix, i, prefixes)
		if a.Prefix == "/.matron" || strings.HasPrefix(a.Prefix, "/.matron/") {
			ps.add(at+".prefix", "/.matron belongs to the gateway itself: choose another path")
		}
		if a.Name == "matron" {
			ps.add(at+".name", "matron is the gateway itself: choose another name")
		}
		ps.address(at+".upstream", a.Upstream, "http", "https")
		ps.required(at+".map", a.Map)
		if a.Mode == "bypass" {
			ps.add(at+".mode", "bypass is begun by two people with \"matron bypass start\", for a bounded time, and never set here: see docs/modes.md")
		} else {
			ps.oneOf(at+".mode", a.Mode, "enforce", "observe")
		}
		if a.Authorization != "" {
			ps.matches(at+".authorization", a.Authorization, `^[A-Za-z][A-Za-z0-9-]{0,31}$`, "the name of a scheme, for example Session")
		}
		if strings.EqualFold(a.Authorization, "Bearer") {
			ps.add(at+".authorization", "Bearer is how programs prove to the gateway who they are, and is never passed on")
		}
		if a.PatientAuthority != "" && !c.Care.On() {
			ps.add(at+".patient_authority", "needs a register of care relationships: give care.listen or care.fhir")
		}
		ps.positive(at+".timeout", a.Timeout)
		if a.MaxBody < 0 || a.MaxRead < 0 || a.MaxHeld < 0 || a.MaxSpooled < 0 {
			ps.add(at, "max_body, max_read, max_held and max_spooled must not be negative")
		}
	}
}

func (c ClickHouse) validate(ps *problems) {
	if c.Embedded && len(c.Address) > 0 {
		ps.add("clickhouse.embedded", "and clickhouse.address exclude each other: remove one")
	}
	ps.oneOf("clickhouse.protocol", c.Protocol, "native", "http")
	ps.matches("clickhouse.database", c.Database, `^[A-Za-z_][A-Za-z0-9_]{0,63}$`, "letters, digits and underscores")
	for i, address := range c.Address {
		at := fmt.Sprintf("clickhouse.address[%d]", i)
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			ps.add(at, "%q is not host:port", address)
		} else if !c.TLS && !isLoopback(host) {
			ps.add(at, "is not on this machine, so that clickhouse.tls must be true")
		}
	}
	if len(c.Address) > 0 {
		ps.required("clickhouse.user", c.User)
		ps.required("clickhouse.password_file", c.PasswordFile)
	}
	c.Cluster.validate(ps, c.Embedded)
}

// validate checks a collector even when it is switched off by an empty address:
// the rest would be a mistake on the day that it is switched on.
func (s Syslog) validate(ps *problems) {
	const at = "export.syslog"
	if s.Address != "" {
		host, port, err := net.SplitHostPort(s.Address)
		n, notNumber := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || notNumber != nil || n == 0 || strings.Contains(host, "/") {
			ps.add(at+".address", "%q must be host:port of a collector that speaks TLS (RFC 5425), for example siem.example.org:6514; nothing is sent in clear", s.Address)
		}
	}
	if (s.CertificateFile == "") != (s.KeyFile == "") {
		ps.add(at, "certificate_file and key_file belong together: give both or neither")
	}
	ps.within(at+".max_message", s.MaxMessage, 8192, 1<<20)
	ps.positive(at+".window", s.Window)
	if s.From == 0 {
		ps.add(at+".from", "must be at least 1, the first record")
	}
}

func (w Witness) validate(ps *problems) {
	ps.positive("witness.timeout", w.Timeout)
	if w.PolicyFile != "" && (len(w.Witnesses) > 0 || w.Quorum != 0) {
		ps.add("witness.policy_file", "names witnesses and quorum itself: remove witness.witnesses and witness.quorum")
		return
	}
	urls := map[string]int{}
	for i, p := range w.Witnesses {
		at := fmt.Sprintf("witness.witnesses[%d]", i)
		ps.address(at+".url", p.URL, "https", "http")
		if u, err := url.Parse(p.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			ps.add(at+".url", "must be https, since it is not on this machine")
		}
		if first, ok := urls[p.URL]; ok && p.URL != "" {
			ps.add(at+".url", "%q is that of witness.witnesses[%d]: one witness counts once", p.URL, first)
		}
		urls[p.URL] = i
		ps.required(at+".key_file", p.KeyFile)
	}
	switch n := len(w.Witnesses); {
	case n == 0 && w.Quorum != 0:
		ps.add("witness.quorum", "is of nobody: name the witnesses in witness.witnesses")
	case n > 0 && w.Quorum == 0:
		ps.add("witness.quorum", "is missing: give how many of the %d witnesses must cosign", n)
	case n > 0:
		ps.within("witness.quorum", w.Quorum, 1, n)
	}
}

func (w Witnessing) validate(ps *problems) {
	files := map[string]int{}
	for i, l := range w.Logs {
		at := fmt.Sprintf("witnessing.logs[%d].key_file", i)
		ps.required(at, l.KeyFile)
		if first, ok := files[l.KeyFile]; ok && l.KeyFile != "" {
			ps.add(at, "%q is that of witnessing.logs[%d]", l.KeyFile, first)
		}
		files[l.KeyFile] = i
	}
}

func (j Journal) validate(ps *problems, source string) {
	ps.positive("journal.append_timeout", j.AppendTimeout)
	if j.AppendTimeout > 10*time.Second {
		ps.add("journal.append_timeout", "%s would keep a clinician waiting: at most 10s", j.AppendTimeout)
	}
	if j.Emergency != 0 && (j.Emergency < 1<<20 || j.Emergency > 2<<30) {
		ps.add("journal.emergency", "must be between 1MiB and 2GiB, or 0 for none")
	}
	if w := j.Watermarks; len(w) != 3 || w[0] < 5 || w[0] >= w[1] || w[1] >= w[2] || w[2] > 99 {
		ps.add("journal.watermarks", "want three ascending percentages from 5 to 99, for example [80, 90, 95]")
	}
	if j.KeepPlain < 1 {
		ps.add("journal.keep_plain", "must be at least 1")
	}
	if j.Second.SameDevice && j.Second.Dir == "" {
		ps.add("journal.second.same_device", "is for a folder: give journal.second.dir too")
	}
	if j.Second.Dir != "" && j.Second.Dir == j.Archive {
		ps.add("journal.archive", "must not be the folder of journal.second.dir")
	}
	p := j.Second.Peer
	if p == (Peer{}) {
		return
	}
	const at = "journal.second.peer"
	ps.matches(at+".name", p.Name, sourcePattern, "the source of the other gateway, for example gw2")
	if p.Name != "" && p.Name == source {
		ps.add(at+".name", "%q is this gateway itself", p.Name)
	}
	ps.listener(at+".address", p.Address)
	ps.required(at+".certificate_file", p.CertificateFile)
	ps.required(at+".key_file", p.KeyFile)
	ps.required(at+".ca_file", p.CAFile)
}

func (p Peers) validate(ps *problems, source string) {
	if p.Listen == "" {
		if len(p.Allow) > 0 || p.CertificateFile != "" || p.KeyFile != "" || p.CAFile != "" {
			ps.add("peers.listen", "is missing: give host:port, for example \":9444\"")
		}
		return
	}
	ps.listener("peers.listen", p.Listen)
	ps.required("peers.certificate_file", p.CertificateFile)
	ps.required("peers.key_file", p.KeyFile)
	ps.required("peers.ca_file", p.CAFile)
	if len(p.Allow) == 0 {
		ps.add("peers.allow", "is missing: name the sources of the gateways, for example [gw2]")
	}
	for i, name := range p.Allow {
		at := fmt.Sprintf("peers.allow[%d]", i)
		ps.matches(at, name, sourcePattern, "the source of a gateway, for example gw2")
		if name == source {
			ps.add(at, "%q is this gateway itself", name)
		}
	}
	if p.MaxBytes < 1<<20 {
		ps.add("peers.max_bytes", "must be at least 1MiB: a segment alone is 128MiB")
	}
}

func (r Retention) validate(ps *problems) {
	if r.KeepYears < 1 {
		ps.add("retention.keep_years", "%d must be at least 1", r.KeepYears)
	}
	ps.approvers("retention.approvers", r.Approvers, "dispose of records")
}

func (b Bypass) validate(ps *problems) {
	if b.Longest < time.Minute || b.Longest > 24*time.Hour {
		ps.add("bypass.longest", "%s must be from 1m to 24h", b.Longest)
	}
	ps.approvers("bypass.people", b.People, "begin a bypass")
}

func (h HazardLog) validate(ps *problems) {
	if h.MeasureEvery < time.Minute || h.MeasureEvery > 12*time.Hour {
		ps.add("hazard_log.measure_every", "must be from 1m to 12h: what is older than a day counts as stale")
	}
	seen := map[string]int{}
	for i, o := range h.Officers {
		at := fmt.Sprintf("hazard_log.officers[%d]", i)
		ps.matches(at+".name", o.Name, `^\p{L}[\p{L}\p{M} .'’-]{1,99}$`, "a person's name, for example Dr Ann Example")
		ps.matches(at+".body", o.Body, `^[A-Za-z][A-Za-z ]{1,63}$`, "a professional body, for example GMC")
		ps.matches(at+".number", o.Number, `^[A-Za-z0-9]{2,32}$`, "a registration, for example 1234567")
		if _, err := time.Parse(time.DateOnly, o.Expires); err != nil {
			ps.add(at+".expires", "%q is no day: write for example 2027-03-31", o.Expires)
		}
		if o.KeyFile == "" && o.Person == "" {
			ps.add(at, "needs key_file, to sign by command, or person, to sign on the pages")
		}
		for _, f := range [][2]string{{"name", o.Name}, {"person", o.Person}} {
			if first, ok := seen[f[0]+" "+f[1]]; ok && f[1] != "" {
				ps.add(at+"."+f[0], "%q is hazard_log.officers[%d] already", f[1], first)
			}
			seen[f[0]+" "+f[1]] = i
		}
	}
}

// approvers checks a list of people of whom two do something that one alone may
// not.
func (ps *problems) approvers(path string, list []Approver, what string) {
	ps.people(path, list)
	if len(list) == 1 {
		ps.add(path, "one person alone cannot %s: name two or more, or nobody", what)
	}
}

// people checks a list of people and their keys.
func (ps *problems) people(path string, list []Approver) {
	seen := map[string]int{}
	for i, a := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		ps.matches(at+".name", a.Name, `^[A-Za-z0-9._-]{1,64}$`, "an account, for example jsmith")
		ps.required(at+".key_file", a.KeyFile)
		if first, ok := seen[strings.ToLower(a.Name)]; ok && a.Name != "" {
			ps.add(at+".name", "%q is taken by %s[%d]", a.Name, path, first)
			continue
		}
		seen[strings.ToLower(a.Name)] = i
	}
}

type problems []Problem

func (ps *problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (ps *problems) required(path, value string) {
	if value == "" {
		ps.add(path, "is missing")
	}
}

func (ps *problems) matches(path, value, pattern, what string) {
	if value == "" {
		ps.add(path, "is missing: give %s", what)
	} else if !regexp.MustCompile(pattern).MatchString(value) {
		ps.add(path, "%q must be %s", value, what)
	}
}

func (ps *problems) oneOf(path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	if value == "" {
		ps.add(path, "is missing: give one of %s", strings.Join(allowed, ", "))
		return
	}
	hint := ""
	if near := strictyaml.Nearest(value, allowed); near != "" {
		hint = " Did you mean " + near + "?"
	}
	ps.add(path, "%q must be one of %s.%s", value, strings.Join(allowed, ", "), hint)
}

func (ps *problems) address(path, value string, schemes ...string) {
	if value == "" {
		ps.add(path, "is missing: give an address that begins with %s://", schemes[0])
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		ps.add(path, "%q must be an address that begins with %s://", value, strings.Join(schemes, ":// or "))
		return
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		ps.add(path, "must hold no user name, query or fragment")
	}
}

func (ps *problems) listener(path, value string) {
	if value == "" {
		ps.add(path, "is missing: give host:port, for example \":8443\"")
	} else if _, _, err := net.SplitHostPort(value); err != nil {
		ps.add(path, "%q is not host:port, for example \":8443\"", value)
	}
}

func (ps *problems) loopback(path, value string) {
	host, _, err := net.SplitHostPort(value)
	if err != nil {
		ps.add(path, "%q is not host:port, for example 127.0.0.1:9443", value)
	} else if !isLoopback(host) {
		ps.add(path, "%q must be on loopback, for example 127.0.0.1:9443, since it asks nobody to sign in", value)
	}
}

func (ps *problems) positive(path string, value time.Duration) {
	if value <= 0 {
		ps.add(path, "must be longer than nothing, for example 30s")
	}
}

func (ps *problems) within(path string, value, low, high int) {
	if value < low || value > high {
		ps.add(path, "%d must be between %d and %d", value, low, high)
	}
}

func (ps *problems) unique(path, value string, i int, seen map[string]int) {
	if first, ok := seen[value]; ok && value != "" {
		ps.add(path, "%q is taken by applications[%d]", value, first)
		return
	}
	seen[value] = i
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func (c ClickHouseCluster) validate(ps *problems, embedded bool) {
	if c == (ClickHouseCluster{}) {
		return
	}
	if embedded {
		ps.add("clickhouse.cluster", "needs clickhouse.address: the embedded engine is one server")
	}
	ps.matches("clickhouse.cluster.name", c.Name, `^[A-Za-z_][A-Za-z0-9_-]{0,62}$`, "the name of a cluster in remote_servers")
}
