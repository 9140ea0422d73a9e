package appmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matron-epr/matron/proxy/appmap/openmaxims"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

// extend adds what a built-in map says to a file that extends it. What the file
// says comes first.
func (c *compiler) extend(f *file) {
	if f.Extends == "" {
		return
	}
	src, err := builtin.ReadFile("maps/" + f.Extends + ".yaml")
	if err != nil {
		c.doc.Report("extends", fmt.Sprintf("%q is no built-in map%s", f.Extends, didYouMean(f.Extends, Names())))
		return
	}
	var base file
	if err := strictyaml.Decode(f.Extends, src, &base).Err(); err != nil {
		c.doc.Report("extends", err.Error())
		return
	}
	c.extend(&base) // built-in maps extend each other as well
	if f.App == "" {
		f.App = base.App
	}
	if f.Session == nil {
		f.Session = base.Session
	}
	if f.Deny == "" {
		f.Deny = base.Deny
	}
	f.Redact = append(f.Redact, base.Redact...)
	f.Rules = append(f.Rules, slices.Clone(base.Rules)...)
	if f.Tables == nil {
		f.Tables = map[string]map[string]string{}
	}
	for name, entries := range base.Tables {
		if f.Tables[name] == nil {
			f.Tables[name] = map[string]string{}
		}
		for key, value := range entries {
			if _, said := f.Tables[name][key]; !said {
				f.Tables[name][key] = value
			}
		}
	}
}

// follow compiles how sessions are followed, nil for not at all.
func (c *compiler) follow(f *file) *following {
	if f.Session == nil {
		for i := range f.Rules {
			if e, ok := builtinExtractor(f.Rules[i].Use); ok && strings.HasPrefix(e.name, "openmaxims.") {
				c.doc.Report(fmt.Sprintf("rules[%d].use", i), e.name+" follows sessions: say how under session")
			}
		}
		return nil
	}
	out := &following{cookie: f.Session.Cookie, live: newRegistry()}
	if out.cookie == "" {
		c.doc.Report("session.cookie", "is missing: name the cookie of the application's session")
	}
	for i, path := range f.Session.InOrder {
		p, err := parsePattern(path, c.tables)
		if err != nil {
			c.doc.Report(fmt.Sprintf("session.in-order[%d]", i), err.Error())
			continue
		}
		out.inOrder = append(out.inOrder, p)
	}
	tables, problems := openmaxims.New(f.Tables, actions(), areas())
	for _, p := range problems {
		c.doc.Report(p.Path, p.Text)
	}
	out.tables = tables
	return out
}
