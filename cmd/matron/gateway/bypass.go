package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/bypass"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/host"
)

// BypassFile is where the bypasses of c's gateway are.
func BypassFile(c config.Config) string { return filepath.Join(c.DataDir, "bypass.ledger") }

// BypassRules say whose signatures count for a bypass of c's gateway.
func BypassRules(c config.Config) (bypass.Rules, error) {
	r := bypass.Rules{Origin: merkle.Origin(c.Site, c.Source), Longest: c.Bypass.Longest}
	err := eachKey(c.Bypass.People, func(name string, key note.Verifier) {
		r.People = append(r.People, bypass.Person{Name: name, Key: key})
	})
	return r, err
}

// eachKey reads the keys of people who may approve something.
func eachKey(people []config.Approver, visit func(name string, key note.Verifier)) error {
	for _, a := range people {
		text, err := os.ReadFile(a.KeyFile)
		if err != nil {
			return fmt.Errorf("read key of %s: %w", a.Name, err)
		}
		key, err := merkle.ParseVerifier(text)
		if err != nil {
			return fmt.Errorf("%s: %w", a.KeyFile, err)
		}
		visit(a.Name, key)
	}
	return nil
}

// openBypass begins with nothing bypassed; Run finds what was approved.
func (g *Gateway) openBypass(context.Context) error {
	rules, err := BypassRules(g.cfg)
	if err != nil {
		return err
	}
	g.bypass = bypass.NewControl(bypass.ControlConfig{
		Path: BypassFile(g.cfg), Rules: rules, Apps: g.applicationNames, Read: host.NewReader(g.now), Record: g.record, Log: g.log,
		Stopped: func(string) { g.proxy.Review() },
	})
	return nil
}

func (g *Gateway) applicationNames() []string {
	var names []string
	for _, a := range g.settings.Load().Applications {
		names = append(names, a.Name)
	}
	return names
}
