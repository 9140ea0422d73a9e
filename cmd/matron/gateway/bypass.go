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
	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// BypassFile is where the bypasses of c's gateway are.
func BypassFile(c config.Config) string { return filepath.Join(c.DataDir, "bypass.ledger") }

// BypassRules say whose signatures count for a bypass of c's gateway.
func BypassRules(c config.Config) (bypass.Rules, error) {
	people, err := people("bypass.people", c.Bypass.People)
	return bypass.Rules{Origin: merkle.Origin(c.Site, c.Source), People: people, Longest: c.Bypass.Longest}, err
}

// people reads the keys of those whom a setting names.
func people(setting string, list []config.Approver) (ledger.People, error) {
	p := ledger.People{Setting: setting}
	err := eachKey(list, func(name string, key note.Verifier) {
		p.List = append(p.List, ledger.Person{Name: name, Key: key})
	})
	return p, err
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
