package fake

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/policy"
)

// Book keeps one hazard log in memory, by the rules of hazardlog.
type Book struct {
	mu  sync.Mutex
	log hazardlog.Log
}

// NewBook begins with a log.
func NewBook(l hazardlog.Log) *Book { return &Book{log: l} }

// Hazards implements dashboards.HazardReader.
func (b *Book) Hazards(context.Context) (hazardlog.Log, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log, nil
}

// Change is dashboards.Safety.Change.
func (b *Book) Change(_ context.Context, _ string, by hazardlog.Actor, changes ...hazardlog.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, _, err := record(b.log, by, changes...)
	if err != nil {
		return fmt.Errorf("change hazard log: %w", err)
	}
	b.log = next
	return nil
}

func record(l hazardlog.Log, by hazardlog.Actor, changes ...hazardlog.Change) (hazardlog.Log, []hazardlog.Event, error) {
	n := l.Seq()
	return l.Record(Now(), by, func() string { n++; return fmt.Sprint("event-", n) }, changes...)
}

// Safety is a hospital whose officer is the Subject, and in which a control is
// contradicted.
func (b *Book) Safety() dashboards.Safety {
	return dashboards.Safety{
		Change: b.Change, SignIn: "/.matron/sign-in", Packer: pack{},
		Evidence: func(context.Context) evidence.Report { return Measured() },
		Officer:  func(policy.Subject) (hazardlog.Officer, bool) { return Officer(), true },
		Began:    func(policy.Subject) time.Time { return Now().Add(time.Second) },
		Running:  func() hazardlog.Baseline { return Running() },
	}
}

type pack struct{}

// Pack implements dashboards.IssuePacker.
func (pack) Pack(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "PK")
	return err
}

// Officer is a clinical safety officer whose registration is in force.
func Officer() hazardlog.Officer {
	return hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2026-11-30"}
}

// Running is what runs.
func Running() hazardlog.Baseline {
	return hazardlog.Baseline{Program: "1.8.2", Config: "9c1185a5c5e9fc54612808977ee8f548b2258d31", Policy: "2f0c1d9e8b7a6f5e4d3c2b1a09f8e7d6"}
}

// Measured is evidence in every state.
func Measured() evidence.Report {
	at := Now().Add(-4 * time.Minute)
	value := func(v float64) *float64 { return &v }
	slot := func(state hazardlog.EvidenceState, reason string, sources ...string) evidence.Slot {
		return evidence.Slot{State: state, Reason: reason, At: at, Sources: sources}
	}
	spi := func(id, hazard, control, name string, v *float64, sample int, state hazardlog.EvidenceState, reason string) evidence.Indicator {
		return evidence.Indicator{
			ID: id, Hazard: hazard, Control: control, Name: name, Definition: "Refusals that were followed by emergency access within five minutes, of all refusals of clinical staff.",
			Query: "decision records of this gateway, effect deny, joined with emergency access of the same person and patient", Unit: "%", Window: 30 * 24 * time.Hour,
			MinSample: 200, Threshold: "at most 2 %", Owner: "Clinical safety officer", Action: "Review the rules that refused, within one working day.",
			Value: v, Sample: sample, At: at, State: state, Reason: reason,
		}
	}
	return evidence.Report{
		At: at, Build: Running().Program, Config: Running().Config, Policy: Running().Policy,
		Controls: map[string]evidence.Control{
			"C-01": {Implemented: slot(hazardlog.Supported, "Its 3 tests passed.", "TestEveryRefusalOffersTheWay, commit 41c9e02"), Effective: slot(hazardlog.Contradicted, "SPI-01 is 4.1 %, at most 2 % is allowed.", "SPI-01")},
			"C-03": {Implemented: slot(hazardlog.Supported, "Its test passed.", "TestReplay, commit 41c9e02"), Effective: slot(hazardlog.Supported, "SPI-02 is 0 of 4,120.", "SPI-02")},
			"C-04": {Implemented: slot(hazardlog.Supported, "Its test passed.", "TestProbe, commit 41c9e02"), Effective: slot(hazardlog.NotEnough, "17 of at least 200.", "SPI-03")},
			"C-08": {Implemented: slot(hazardlog.Stale, "Its test has not run for 41 days.", "TestBypass, commit 0b2aa17"), Effective: slot(hazardlog.Stale, "The last drill was on 2 March 2026.", "Drill of 2 March 2026")},
		},
		Indicators: []evidence.Indicator{
			spi("SPI-01", "GW-01", "C-01", "Emergency access after a refusal", value(4.1), 4120, hazardlog.Contradicted, "4.1 % of 4,120 refusals; at most 2 % is allowed."),
			spi("SPI-02", "GW-01", "C-03", "Refusals that a replay had not foretold", value(0), 4120, hazardlog.Supported, "0 of 4,120: at most 0.07 % at 95 % confidence."),
			spi("SPI-03", "GW-01", "C-04", "Probe of emergency access", value(100), 17, hazardlog.NotEnough, "17 of at least 200."),
			spi("SPI-04", "GW-02", "C-08", "Bypass drill", nil, 0, hazardlog.Stale, "The last drill was 246 days ago; it is good for 180."),
			spi("SPI-05", "GW-03", "C-09", "Care requests refused by a limit", nil, 0, hazardlog.NotMeasured, "No source is configured."),
		},
	}
}

// sworn is somebody who is present.
type sworn struct{}

// Confirm implements hazardlog.Authenticator.
func (sworn) Confirm(context.Context, hazardlog.Officer, string) (hazardlog.Proof, error) {
	return hazardlog.Proof{Method: "key", Evidence: "signed", At: Now()}, nil
}

// BusyLog is the small log with all that can be in one: more controls, incidents,
// decisions, reviews, a signed version, and changes since.
func BusyLog() hazardlog.Log {
	l := HazardLog()
	engineer := hazardlog.Actor{Issuer: "os", Account: "engineer"}
	must := func(by hazardlog.Actor, changes ...hazardlog.Change) {
		var err error
		if l, _, err = record(l, by, changes...); err != nil {
			panic(err) // a mistake below
		}
	}
	raise := func(v hazardlog.Value) hazardlog.Change {
		return hazardlog.Change{Act: hazardlog.Raise, Value: v, Why: "workshop of 20 October"}
	}
	no := hazardlog.NewHazards{Answer: hazardlog.NoNewHazards, Reason: "It changes nothing that staff do."}
	control := func(id, hazard string, kind hazardlog.ControlType, text string) hazardlog.Change {
		return raise(hazardlog.Control{ID: id, Hazards: []string{hazard}, Type: kind, Timing: hazardlog.Additional, Status: hazardlog.Implemented, Text: text, NewHazards: no})
	}
	must(
		engineer,
		control("C-03", "GW-01", hazardlog.Design, "New rules first only observe, and are replayed over past traffic to show whom they would have refused"),
		control("C-04", "GW-01", hazardlog.Design, "A probe tries emergency access every five minutes"),
		control("C-05", "GW-01", hazardlog.Training, "Staff practise emergency access at induction, bank and agency staff too"),
		control("C-09", "GW-03", hazardlog.Design, "Care is slowed and never refused by a limit"),
		raise(hazardlog.Transfer{ID: "T-02", Hazard: "GW-02", Control: "C-08", Condition: "Practise the bypass twice a year.", To: "Example Hospital", State: hazardlog.Offered}),
		raise(hazardlog.Incident{ID: "I-01", On: "2026-10-28", Text: "A locum waited four minutes for a drug chart in resuscitation.", Hazards: []string{"GW-01"}, Reference: "Datix 0417"}),
		raise(hazardlog.Incident{ID: "I-02", On: "2026-09-14", Text: "A ward could not open charts while a switch was replaced.", Hazards: []string{"GW-02"}, Assessment: "The hazard was known; the bypass was not used since nobody on shift had practised it."}),
		raise(hazardlog.Decision{ID: "D-01", On: "2026-10-20", Text: "Theatres are warned and never refused", Reason: "A patient on the table cannot wait for a sign-in.", Hazards: []string{"GW-01"}}),
		raise(hazardlog.Review{ID: "R-01", Of: "GW-01: the evidence for C-01 is contradicted", Due: "2026-11-06"}),
		raise(hazardlog.Review{ID: "R-02", Of: "Bypass drill", Due: "2026-08-29"}),
		raise(hazardlog.Review{ID: "R-03", Of: "Yearly review of the process", Due: "2027-05-01"}),
		raise(hazardlog.Review{ID: "R-04", Of: "C-05", Due: "2026-09-01"}),
	)
	review, _ := l.Holds(hazardlog.Subject{Kind: hazardlog.OfReview, ID: "R-04"}).(hazardlog.Review)
	review.Done, review.Outcome = "2026-08-30", "Twelve of twelve found the way within a minute."
	must(engineer, hazardlog.Change{Act: hazardlog.Move, Value: review, Expect: 1, Why: "spot check"})
	sign(&l, must)
	h, _ := l.Find("GW-01")
	h.Causes = append(h.Causes, "A merged number is not followed")
	must(engineer, hazardlog.Change{Act: hazardlog.Edit, Value: h, Expect: l.Revision(h.Subject()), Why: "found while mapping the second record system"})
	return l
}

// sign makes an officer assess and accept all of the log, and approve it.
func sign(l *hazardlog.Log, must func(hazardlog.Actor, ...hazardlog.Change)) {
	by, err := hazardlog.Actor{Issuer: "https://id.example", Account: "u-9001"}.Prove(context.Background(), Officer(), sworn{}, "", Now())
	if err != nil {
		panic(err) // the registration above is in force
	}
	edit := func(v hazardlog.Value, act hazardlog.Act, why string) {
		must(by, hazardlog.Change{Act: act, Value: v, Expect: l.Revision(v.Subject()), Why: why})
	}
	for _, x := range l.Controls {
		if x.Timing == hazardlog.Additional && x.NewHazards.Answer == "" {
			x.NewHazards = hazardlog.NewHazards{Answer: hazardlog.NoNewHazards, Reason: "It only opens what was open before."}
			edit(x, hazardlog.Edit, "asked at the workshop")
		}
	}
	for _, h := range l.Hazards {
		if !h.Residual.Risk().Rated() {
			h.Initial, h.Residual = proposed("Considerable", "High", "One shared workstation serves a bay."), proposed("Considerable", "Low", "Care is slowed, never refused.")
		}
		for _, r := range []*hazardlog.Rating{&h.Initial, &h.Residual} {
			r.State, r.By = hazardlog.RatingAssessed, by.Officer
		}
		h.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: "Going lower is impractical: refusing without evidence is what the gateway is for.", By: by.Officer}
		if h.ID == "GW-02" {
			h.Acceptance = hazardlog.Acceptance{}
		}
		edit(h, hazardlog.Rate, "workshop of 20 October")
	}
	running := Running()
	running.Config = "04fae81b9a7c5cb1fe1e53e34cd2b9f7b1a0c9d2"
	by, change, err := l.Approve(context.Background(), by, hazardlog.SignOff{
		Version: "1.4", Officer: Officer(), Statement: "The residual risk is acceptable for use on all wards.", Confirmed: [2]bool{true, true}, Baseline: running,
	}, sworn{}, Now().AddDate(0, 0, -12))
	if err != nil {
		panic(err) // a mistake in the log above
	}
	must(by, change)
}
