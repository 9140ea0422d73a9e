package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/protection"
	"github.com/matron-epr/matron/proxy"
)

// protected is who is protected beyond the usual, as the files named under
// sensitivity say. It is read at the start and at every reload.
type protected struct {
	list atomic.Pointer[protection.List] // nil while nobody knows
}

// openProtection reads the files. On error: the gateway starts all the same, since
// no list must keep a hospital from its records (GW-02); nobody then knows who is
// protected, and the rules ask for a care relationship or emergency access where
// their tables say so (GW-11).
func (g *Gateway) openProtection(ctx context.Context) error {
	s := g.cfg.Sensitivity
	if !s.Configured() {
		return nil
	}
	g.protected = &protected{}
	g.metrics.watch("matron_sensitivity_known", "1 while it is known which records are protected.", func() float64 { return truth(g.protected.list.Load() != nil) })
	g.metrics.watch("matron_sensitivity_numbers", "Numbers of patients whose records are protected.", func() float64 {
		if l := g.protected.list.Load(); l != nil {
			return float64(l.Len())
		}
		return 0
	})
	list, err := readProtection(s)
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "nobody knows which records are protected: mend the file and reload", slog.String("error", err.Error()))
		return nil
	}
	g.protected.list.Store(list)
	return nil
}

// sensitivity is the protection of patients of an application together: by the lists,
// and by what a register of care relationships was told. While the register is read,
// that nobody is flagged by it must not lock everybody out (GW-01).
func (g *Gateway) sensitivity(app string, patients []proxy.Patient) policy.Sensitivity {
	s := g.protected.of(patients)
	var flags care.Flags
	for _, p := range patients {
		f, _ := g.PatientFlags(app, p)
		flags |= f
	}
	if flags == 0 {
		return s
	}
	s.Classes = slices.Clone(s.Classes) // that of the list is for everybody
	for flag, class := range map[care.Flags]string{care.VIP: "vip", care.Protected: "s-flag", care.Deceased: "deceased"} {
		if flags&flag != 0 {
			s.Classes = append(s.Classes, class)
		}
	}
	slices.Sort(s.Classes)
	s.Classes = slices.Compact(s.Classes)
	return s
}

// of is the protection of patients together. A site without files knows that there is
// none.
func (p *protected) of(patients []proxy.Patient) policy.Sensitivity {
	if p == nil {
		return policy.Sensitivity{Known: true}
	}
	list := p.list.Load()
	if list == nil {
		return policy.Sensitivity{}
	}
	var set protection.Set
	for i := range patients {
		set |= list.Of(patients[i].ID, patients[i].NHSNumber)
	}
	return policy.Sensitivity{Known: true, Classes: list.Classes(set)}
}

// known reports whether it is known who is protected, or nobody is by configuration.
func (p *protected) known() bool { return p == nil || p.list.Load() != nil }

// readProtection reads the files whole: one bad line refuses them, since it might be
// the line of a record that must not be opened (GW-11).
func readProtection(s config.Sensitivity) (*protection.List, error) {
	b := protection.New()
	err := wholeFeed(s.Staff, feeds.StaffFeed, s.Mappings, func(r feeds.Reader, in io.Reader) (feeds.Feed, error) {
		return r.StaffNumbers(in, b.AddStaff)
	})
	if err != nil {
		return nil, err
	}
	err = wholeFeed(s.Patients, feeds.PatientsFeed, s.Mappings, func(r feeds.Reader, in io.Reader) (feeds.Feed, error) {
		return r.Protected(in, func(p feeds.Protected) error {
			return b.AddPatient(protection.Patient{ID: p.ID, NHSNumber: p.NHSNumber, MergedInto: p.MergedInto, Classes: p.Flags})
		})
	})
	if err != nil {
		return nil, err
	}
	return b.Build(), nil
}

// wholeFeed reads a file of which every line must be right. Those that are not stand
// with their numbers in the reject file beside it.
func wholeFeed(path string, kind feeds.Kind, mappings map[string]string, read func(feeds.Reader, io.Reader) (feeds.Feed, error)) (err error) {
	if path == "" {
		return nil
	}
	var r feeds.Reader
	if mapping := mappings[string(kind)]; mapping != "" {
		if r.Mapping, err = readMapping(mapping, kind); err != nil {
			return err
		}
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	defer func() { _ = f.Close() }()
	rejects := &intake.RejectFile{Path: path + ".sensitivity-rejects.ndjson"} // detection reads the same files and takes in the rest
	first := 0
	r.Reject = func(bad intake.Reject) error {
		if first == 0 {
			first = bad.Line
		}
		return rejects.Add(bad)
	}
	feed, err := read(r, f)
	if _, err = rejects.Close(err); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if feed.Rejected > 0 {
		return fmt.Errorf("%s:%d:1: this line cannot be used, nor can %d others: %s says why; nothing of the file is taken in",
			path, first, feed.Rejected-1, rejects.Path)
	}
	return nil
}
