package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
	"github.com/matron-epr/matron/hazardlog/transfer"
)

// party is one organisation with its store, its officer and its key.
type party struct {
	t        *testing.T
	store    *store.Store
	officer  hazardlog.Officer
	signer   note.Signer
	verifier note.Verifier
	now      time.Time
}

func newParty(t *testing.T, d place, name, number string) *party {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, strings.ToLower(name))
	if err != nil {
		t.Fatal(err)
	}
	p := &party{t: t, now: when(), officer: hazardlog.Officer{Name: "Dr " + name, Body: "GMC", Number: number, Expires: "2099-12-31"}}
	if p.signer, err = note.NewSigner(secret); err != nil {
		t.Fatal(err)
	}
	if p.verifier, err = note.NewVerifier(public); err != nil {
		t.Fatal(err)
	}
	p.store = store.New(d.db, func() time.Time { p.now = p.now.Add(time.Minute); return p.now })
	return p
}

// Confirm implements hazardlog.Authenticator: the officer is there.
func (p *party) Confirm(context.Context, hazardlog.Officer, string) (hazardlog.Proof, error) {
	return hazardlog.Proof{Method: "test", At: p.now}, nil
}

// acts is the officer who has just proved who they are.
func (p *party) acts() hazardlog.Actor {
	return hazardlog.Actor{Issuer: "os", Account: "officer", Officer: p.officer.String(), Proof: &hazardlog.Proof{Method: "test", At: p.now}}
}

func (p *party) change(id string, by hazardlog.Actor, changes ...hazardlog.Change) hazardlog.Log {
	p.t.Helper()
	l, _, err := p.store.Change(p.t.Context(), id, by, changes...)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// read is the log as the database holds it, without what the store remembers.
func (p *party) read(d place, id string) hazardlog.Log {
	p.t.Helper()
	l, err := store.New(d.db, when).Log(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// approves makes every rating of a log the officer's and approves a version.
func (p *party) approves(l hazardlog.Log, version string) hazardlog.Log {
	p.t.Helper()
	var changes []hazardlog.Change
	for _, h := range l.Hazards {
		h.Initial.State, h.Initial.By = hazardlog.RatingAssessed, p.officer.String()
		h.Residual.State, h.Residual.By = hazardlog.RatingAssessed, p.officer.String()
		changes = append(changes, hazardlog.Change{Act: hazardlog.Rate, Value: h, Expect: l.Revision(h.Subject())})
	}
	l = p.change(l.ID, p.acts(), changes...)
	by, change, err := l.Approve(p.t.Context(), engineer(), hazardlog.SignOff{Version: version, Officer: p.officer, Statement: "Fine.", Confirmed: [2]bool{true, true}}, p, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.change(l.ID, by, change)
}

func (p *party) answers(l hazardlog.Log, state hazardlog.TransferState, reason string, ids ...string) hazardlog.Log {
	p.t.Helper()
	var changes []hazardlog.Change
	for _, x := range l.Transfers {
		if slices.Contains(ids, x.ID) {
			x.State, x.By, x.Reason = state, p.officer.String(), reason
			changes = append(changes, hazardlog.Change{Act: hazardlog.Answer, Value: x, Expect: l.Revision(x.Subject())})
		}
	}
	return p.change(l.ID, p.acts(), changes...)
}

// handsOver packs a version and opens it as the recipient does.
func (p *party) handsOver(l hazardlog.Log, version string) (transfer.Pack, hazardlog.Log) {
	p.t.Helper()
	text, err := transfer.Make(l, version, p.signer, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	pack, then, err := transfer.Open(text, p.verifier)
	if err != nil {
		p.t.Fatal(err)
	}
	return pack, then
}

// reply is a log's answers, as they arrive.
func (p *party) reply(l hazardlog.Log) hazardlog.Reply {
	p.t.Helper()
	text, _, err := transfer.MakeReply(l, p.signer, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := transfer.OpenReply(text, p.verifier)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func raised(l hazardlog.Log, r hazardlog.Reply) hazardlog.Change {
	r.ID = l.NextID("A")
	return hazardlog.Change{Act: hazardlog.Raise, Value: r}
}

// The built-in log goes from its maker to a trust, each with a database of its own:
// the trust answers each transfer, the answers go back, an update says what changed in
// what was accepted, and is answered again.
// hazard:GW-32 control:C-237
// hazard:GW-32 control:C-238
func TestALogGoesToATrustAndItsAnswersComeBack(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		e := databases[strings.TrimPrefix(t.Name(), "TestALogGoesToATrustAndItsAnswersComeBack/")](t)
		maker, trust := newParty(t, d, "Maker", "0000001"), newParty(t, e, "Trust", "0000002")
		made := maker.approves(beginWith(t, maker.store, 0), "1.0")
		pack, then := maker.handsOver(made, "1.0")

		changes, err := hazardlog.Derive(then, pack.Approval.Version, hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Example Trust"})
		if err != nil {
			t.Fatal(err)
		}
		own, err := trust.store.Begin(t.Context(), "rba", engineer(), changes...)
		if err != nil {
			t.Fatal(err)
		}
		own = trust.answers(own, hazardlog.Accepted, "ward managers do it", "T-01", "T-02", "T-03", "T-33")
		own = trust.answers(own, hazardlog.Declined, "we have no weekly meeting", "T-35")
		first := trust.reply(own)
		maker.change("matron", engineer(), raised(made, first))
		made = maker.read(d, "matron")
		if got := made.Replies[0].String(); got != "Example Trust on version 1.0: 4 accepted, 1 declined, 79 not answered" {
			t.Errorf("taken in: %s", got)
		}
		if made.State() != "Version 1.0, approved by Dr Maker (GMC 0000001) on 26 November 2026. Nothing has changed since." {
			t.Errorf("answers are about a version and change none: %s", made.State())
		}
		if a := made.AnswersTo("T-35"); len(a) != 1 || a[0].Answer() != "declined by Dr Trust (GMC 0000002): we have no weekly meeting" || a[0].Changed {
			t.Errorf("%+v", a)
		}
		if !slices.ContainsFunc(made.Lint(hazardlog.Facts{}), func(f hazardlog.Finding) bool {
			return f.Rule == "declined" && f.Subject.ID == "T-35" && strings.Contains(f.Text, "we have no weekly meeting")
		}) {
			t.Error("nobody hears that a transfer was declined")
		}
		refusedReplies(t, maker, made, first)

		// The maker changes three hazards that the trust accepted, and one that it did not.
		for _, id := range []string{"GW-01", "GW-02", "GW-03", "GW-04"} {
			h, _ := made.Find(id)
			h.Effect += " Sometimes."
			made = maker.change("matron", engineer(), hazardlog.Change{Act: hazardlog.Edit, Value: h, Expect: made.Revision(h.Subject())})
		}
		x := made.Transfers[0]
		x.Condition = "Something else."
		made = maker.change("matron", engineer(), hazardlog.Change{Act: hazardlog.Edit, Value: x, Expect: made.Revision(x.Subject())})
		made = maker.approves(made, "1.1")
		pack, next := maker.handsOver(made, "1.1")
		own = trust.read(e, "rba")
		u := own.Upgrade(then, next, pack.Approval.Version)
		if u.String() != "Version 1.1: 3 hazards you accepted have changed, 4 hazards in all; 0 entries are new." {
			t.Errorf("%s", u)
		}
		if changes, err = own.Changes(u, next, "2026-11-27"); err != nil {
			t.Fatal(err)
		}
		trust.change("rba", engineer(), changes...)
		own = trust.read(e, "rba")
		if y := own.Transfers[0]; y.State != hazardlog.Offered || y.Condition != "Something else." {
			t.Errorf("other words that nobody has answered: %+v", y)
		}
		if a := made.AnswersTo("T-01"); len(a) != 1 || !a[0].Changed {
			t.Errorf("an answer to other words: %+v", a)
		}
		trust.now, trust.signer, trust.verifier = trust.now.Add(time.Hour), maker.signer, maker.verifier // a new key, of which the maker has made sure
		maker.change("matron", engineer(), raised(made, made.Theirs(trust.reply(trust.answers(own, hazardlog.Accepted, "", "T-01")))))
		made = maker.read(d, "matron")
		if a := made.AnswersTo("T-01"); len(a) != 1 || a[0].State != hazardlog.Accepted || a[0].Changed || a[0].Version != "1.1" || len(made.Replies) != 2 {
			t.Errorf("the newest answer counts: %+v", a)
		}
	})
}

// Answers to other words than were asked, the same ones again, or those of before, are
// refused, and by whom they may be given is checked.
func refusedReplies(t *testing.T, maker *party, made hazardlog.Log, first hazardlog.Reply) {
	t.Helper()
	for want, change := range map[string]func(*hazardlog.Reply){
		"was taken in before, as A-01":                             func(*hazardlog.Reply) {},
		"is not after that of A-01":                                func(r *hazardlog.Reply) { r.Pack = "other" },
		"that was never approved here":                             func(r *hazardlog.Reply) { r.Of.Version = "0.9" },
		"of log matron: that was never approved":                   func(r *hazardlog.Reply) { r.Of.SHA256 = strings.Repeat("0", 64) },
		`"T-99" is no transfer of version 1.0`:                     func(r *hazardlog.Reply) { r.Answers[3].ID = "T-99" },
		"T-01 is answered twice":                                   func(r *hazardlog.Reply) { r.Answers[1] = r.Answers[0] },
		"T-02 is about other words than version 1.0":               func(r *hazardlog.Reply) { r.Answers[1].Condition = "Nothing." },
		"answers[0].by: is empty":                                  func(r *hazardlog.Reply) { r.Answers[0].By = "" },
		`answers[0].state: is "perhaps"`:                           func(r *hazardlog.Reply) { r.Answers[0].State = "perhaps" },
		"answers[34].reason: is empty":                             func(r *hazardlog.Reply) { r.Answers[34].Reason = "" },
		"key: is other+0000, but Example Trust signed with trust+": func(r *hazardlog.Reply) { r.Key = "other+0000" },
		"key: is empty":                                            func(r *hazardlog.Reply) { r.Key = "" },
	} {
		r := first
		r.Answers = slices.Clone(first.Answers)
		if !strings.HasPrefix(want, "was taken") && !strings.HasPrefix(want, "is not after") {
			r.Pack, r.MadeAt = "other", r.MadeAt.Add(time.Hour)
		}
		change(&r)
		_, _, err := maker.store.Change(t.Context(), "matron", engineer(), raised(made, r))
		if !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	software := hazardlog.Actor{Issuer: hazardlog.SoftwareIssuer, Account: "matron"}
	if _, _, err := maker.store.Change(t.Context(), "matron", software, raised(made, first)); err == nil {
		t.Error("software took answers in twice")
	}
}
