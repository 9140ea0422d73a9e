package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/signin"
)

// applications builds every application of c and Matron's own pages. It reports
// every map that is no good, not only the first.
func (g *Gateway) applications(c config.Config) ([]proxy.App, error) {
	apps := []proxy.App{{
		Name: pagesName, Site: c.Site, Prefix: "/.matron", Map: newPagesMap(), Handler: g.own,
	}}
	var errs []error
	for _, a := range c.Applications {
		app, err := application(c, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		app.Voucher = g.voucher.For(a.Name)
		apps = append(apps, app)
	}
	return apps, errors.Join(errs...)
}

// application builds one application from its settings.
func application(c config.Config, a config.Application) (proxy.App, error) {
	m, err := appmap.Load(a.Map)
	if err != nil {
		return proxy.App{}, err
	}
	transport, err := transportFor(a.CAFile)
	if err != nil {
		return proxy.App{}, fmt.Errorf("application %s: %w", a.Name, err)
	}
	mode := proxy.Enforce
	if a.Mode == "observe" {
		mode = proxy.Observe
	}
	return proxy.App{
		Name: a.Name, Site: a.Site, Prefix: a.Prefix, Mode: mode, Map: m.WithBase("", c.ExternalURL+a.Prefix, a.Upstream),
		Upstream: mustParse(a.Upstream), StripPrefix: true, Transport: transport, Authorization: a.Authorization, BindReads: a.BindReads,
		MaxBody: a.MaxBody, MaxRead: a.MaxRead, MaxHeld: a.MaxHeld, MaxSpooled: a.MaxSpooled, Timeout: a.Timeout,
	}, nil
}

// Warnings are what Check cannot call a mistake and somebody should know: what the
// sign-in service says of itself, if it answers.
func Warnings(ctx context.Context, c config.Config) []string {
	client, err := httpClient(c.SignIn.CAFile)
	if err != nil {
		return nil // Check says so
	}
	if offers, err := signin.OffersAuthTime(ctx, client, c.SignIn.Issuer); err != nil || offers {
		return nil
	}
	return []string{"sign_in.issuer: " + c.SignIn.Issuer + " does not list auth_time among its claims: if its tokens do not have it, sign-in again for protected records cannot be proved, and they stay shut"}
}

// Check reads everything that the configuration names and reports every
// mistake. It starts nothing and changes nothing.
func Check(ctx context.Context, c config.Config) error {
	var errs []error
	for _, a := range c.Applications {
		_, err := application(c, a)
		errs = append(errs, err)
	}
	_, err := BypassRules(c)
	errs = append(errs, err)
	_, err = Officers(c)
	errs = append(errs, err)
	_, err = readTrace(c.HazardLog.TraceFile)
	errs = append(errs, err)
	if c.Database.URLFile != "" {
		_, err = readSecret(c.Database.URLFile)
		errs = append(errs, err)
	}
	_, err = IncidentRules(c)
	errs = append(errs, err)
	if c.Policy.Bundle.URL != "" {
		_, err = signing(c.Policy.Bundle)
		errs = append(errs, err)
		_, err = openFetcher(c)
		errs = append(errs, err)
	}
	_, err = rego.New(ctx, rego.Config{Dir: c.Policy.Dir, Timeout: c.Policy.Timeout})
	errs = append(errs, err)
	_, err = readSecret(c.SignIn.ClientSecretFile)
	errs = append(errs, err)
	_, err = newMailer(c, time.UTC)
	errs = append(errs, err)
	_, err = transportFor(c.SignIn.CAFile)
	errs = append(errs, err)
	errs = append(errs, checkCare(c.Care))
	_, err = openWitnesses(c.Witness, time.Now)
	errs = append(errs, err)
	_, err = witnessedLogs(c.Witnessing)
	errs = append(errs, err)
	if c.Export.Syslog.Address != "" {
		_, err = syslogPeer(c.Export.Syslog).TLS()
		errs = append(errs, err)
	}
	for _, file := range []string{
		c.TLS.CertificateFile, c.TLS.KeyFile, c.TLS.ACME.CAFile, c.ClickHouse.PasswordFile, c.ClickHouse.CAFile,
		c.Detection.Staff, c.Detection.Rota, c.Detection.Patients, c.Detection.Care, c.Detection.Devices,
	} {
		if file != "" {
			_, err := os.Stat(file)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
