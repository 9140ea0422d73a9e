package gateway

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
)

// modes is what each application does with what the rules refuse, as pages show
// it.
func (g *Gateway) modes() []dashboards.AppMode {
	var list []dashboards.AppMode
	inForce := g.bypass.InForce()
	for _, a := range g.settings.Load().Applications {
		m := dashboards.AppMode{App: a.Name, Mode: a.Mode}
		for _, b := range inForce {
			if b.App == a.Name {
				m = dashboards.AppMode{
					App: a.Name, Mode: "bypass", Since: b.ApprovedAt, Until: b.Until(),
					Reason: b.Reason, RequestedBy: b.RequestedBy, ApprovedBy: b.ApprovedBy,
				}
			}
		}
		list = append(list, m)
	}
	return list
}

// weakest is the mode that the state line must not hide.
func weakest(modes []dashboards.AppMode) string {
	for _, mode := range []string{"bypass", "observe"} {
		if slices.ContainsFunc(modes, func(m dashboards.AppMode) bool { return m.Mode == mode }) {
			return mode
		}
	}
	return "enforce"
}

// modeSince is when the weakest mode began.
func (g *Gateway) modeSince(modes []dashboards.AppMode) time.Time {
	for _, m := range modes {
		if m.Mode == "bypass" {
			return m.Since
		}
	}
	return *g.modesAt.Load()
}

// modesCheck is a line of /readyz that tells and does not decide.
func (g *Gateway) modesCheck() check {
	modes := g.modes()
	c := check{Name: "modes (not required)", OK: weakest(modes) != "bypass"}
	var said []string
	for _, m := range modes {
		text := m.App + " " + m.Mode
		if m.Mode == "bypass" {
			text += " until " + m.Until.UTC().Format(time.RFC3339)
		}
		said = append(said, text)
	}
	c.Note = strings.Join(said, ", ")
	return c
}

// watchModes shows on /metrics whether decisions are enforced.
func (g *Gateway) watchModes() {
	count := func(mode string) func() float64 {
		return func() (n float64) {
			for _, m := range g.modes() {
				if m.Mode == mode {
					n++
				}
			}
			return n
		}
	}
	g.metrics.watch("matron_applications_bypassed", "Applications whose decisions are recorded and not enforced for an emergency.", count("bypass"))
	g.metrics.watch("matron_applications_observed", "Applications whose decisions are recorded and not enforced yet.", count("observe"))
	g.metrics.watch("matron_bypass_remaining_seconds", "Time until the last bypass ends by itself, 0 for none.", func() (left float64) {
		for _, b := range g.bypass.InForce() {
			left = max(left, b.Until().Sub(g.now()).Seconds())
		}
		return left
	})
}

// modeDetail says in records what each application does with what the rules
// refuse.
func modeDetail(c config.Config) []string {
	var detail []string
	for _, a := range c.Applications {
		detail = append(detail, "mode="+a.Name+":"+a.Mode)
	}
	return detail
}

// modeChanges are the records of the applications whose mode a reload changes
// (GW-17). An application that comes is one that was not enforced before.
func modeChanges(old, fresh config.Config, file, hash, revision string, now time.Time) []*audit.Record {
	before := map[string]string{}
	for _, a := range old.Applications {
		before[a.Name] = a.Mode
	}
	var records []*audit.Record
	add := func(app, from, to string) {
		if from == to {
			return
		}
		records = append(records, &audit.Record{
			Time: now, Kind: audit.KindConfigChange, App: app, Action: "mode", Mode: to, PolicyRev: revision,
			Detail: append([]string{"mode_before=" + from}, append(provenance(file), "config_sha256="+hash)...),
		})
	}
	for _, a := range fresh.Applications {
		from, ok := before[a.Name]
		if !ok {
			from = "absent"
		}
		add(a.Name, from, a.Mode)
		delete(before, a.Name)
	}
	for _, a := range old.Applications {
		if from, ok := before[a.Name]; ok {
			add(a.Name, from, "absent")
		}
	}
	return records
}

// provenance says who and when as far as a file tells: a signal does not say who
// sent it.
func provenance(file string) []string {
	info, err := os.Stat(file)
	if err != nil {
		return nil
	}
	detail := []string{"config_changed=" + info.ModTime().UTC().Format(time.RFC3339)}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner := strconv.FormatUint(uint64(stat.Uid), 10)
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
		detail = append(detail, fmt.Sprintf("config_owner=%s", owner))
	}
	return detail
}
