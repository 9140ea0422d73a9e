package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Shortage is how far the disk that records are written to has filled up, as
// what can no longer be afforded. The zero value refuses nothing: care must not
// wait because nobody measures a disk (GW-01), and the append that every
// exchange waits for still holds back what cannot be recorded.
type Shortage uint8

// The shortages, each with what it refuses besides those before it.
const (
	NoShortage Shortage = iota
	// ShortForBulk refuses exports and other bulk work.
	ShortForBulk
	// ShortForSearch refuses searches and lists that are not part of care.
	ShortForSearch
	// ShortForAll refuses everything but direct care. So does anything above it.
	ShortForAll

	never Shortage = 255 // direct care is refused by no shortage
)

// spaceRetry is when whatever was refused for want of room may be tried again:
// nobody makes room on a disk within seconds.
const spaceRetry = 5 * time.Minute

// Refusals for want of room. errNoSpace stands for all of them.
var (
	errNoSpace        = errors.New("disk of the record is filling up")
	errNoSpaceBulk    = fmt.Errorf("%w: bulk work waits", errNoSpace)
	errNoSpaceSearch  = fmt.Errorf("%w: searches that are not part of care wait", errNoSpace)
	errNoSpaceForRest = fmt.Errorf("%w: everything but care waits", errNoSpace)
)

// space refuses what can wait while the disk of the record fills up, so that
// what is left of it serves care (GW-12). It does so in observe mode too: there
// as well nothing goes on once nothing can be recorded. The question is asked
// once, so that one exchange meets one answer.
func (x *exchange) space() error {
	if x.g.cfg.Space == nil {
		return nil
	}
	short := x.g.cfg.Space()
	if short == NoShortage {
		return nil
	}
	at := yieldsAt(x.subject, &x.access)
	switch {
	case short < at || at == never:
		return nil
	case at == ShortForBulk:
		return errNoSpaceBulk
	case at == ShortForSearch:
		return errNoSpaceSearch
	}
	return errNoSpaceForRest
}

// yieldsAt returns the least shortage that refuses an exchange: never for
// direct care. Of an exchange that does several things the first that must wait
// decides, since they are done together or not at all.
func yieldsAt(s policy.Subject, a *Access) Shortage {
	if a.Vital {
		return never
	}
	parts := a.Parts
	if len(parts) == 0 {
		parts = []Part{{Action: a.Action, Area: a.Area}}
	}
	// A machine is a machine whatever it does, and so is whoever uses what is
	// meant for machines: they ask again by themselves.
	person := !s.Machine && a.Kind != MachineClient
	least := never
	for _, p := range parts {
		at := never
		switch looks := p.Action == policy.Search || p.Action == policy.List; {
		case a.Kind == Bulk, p.Action == policy.Export:
			at = ShortForBulk
		case person && directCare(a, p):
		case looks:
			at = ShortForSearch
		default:
			at = ShortForAll
		}
		least = min(least, at)
	}
	return least
}

// directCare says what a person may do at every shortage (GW-01):
//
//   - read and write clinical entries, of the patient whom the request names or
//     whom the answer will name. What is typed is never lost for want of room
//     elsewhere (GW-06). An exchange that no rule of the map knows counts too:
//     the policy denies it, and where it only observes, nobody can tell that it
//     was not care;
//   - find a patient (demographics) and see who is where (encounters), since
//     without those no record can be opened;
//   - search and list within the record of patients who are named;
//   - what concerns nobody and screens are made of: a formulary, a code list,
//     forms, style sheets.
//
// Not direct care: prints, administration, Matron's pages but home and those
// marked Vital, and searches and lists across patients in the clinical areas.
func directCare(a *Access, p Part) bool {
	if a.Static {
		return true
	}
	switch p.Area {
	case policy.Administration, policy.Audit, policy.Safety, policy.Live, policy.Rules:
		return false
	case policy.Demographics, policy.Encounters:
		return p.Action != policy.Print
	case policy.Home, policy.Notes, policy.Results, policy.Prescribing, policy.Theatres, policy.Documents:
	}
	switch p.Action {
	case policy.Print, policy.Export:
		return false
	case policy.Search, policy.List:
		return len(a.Patients) > 0 || a.Certainty == audit.None
	case policy.Read, policy.Create, policy.Update, policy.Delete:
	}
	return true
}
