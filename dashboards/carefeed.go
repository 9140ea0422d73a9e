package dashboards

import (
	"strings"
	"time"
)

// Care is the register of care relationships that decisions rest on. The zero Care is
// not set up.
type Care struct {
	Set      bool
	Loading  bool      // what is on disk is still being read
	Failed   bool      // what is on disk cannot be read
	Silent   []string  // sources that have said nothing for too long
	AsOf     time.Time // when a source was last heard of, of silent ones the one silent longest; zero if never
	Patients int       // in the register
}

// careBanner says why nobody is refused for want of a relationship, "" where the
// register can be relied on.
func (s *Site) careBanner(c Care) string {
	const meanwhile = " Meanwhile nobody is refused for want of a care relationship, and the record marks whoever is let in."
	switch {
	case !c.Set:
		return ""
	case c.Failed:
		return "The register of care relationships cannot be read." + meanwhile
	case c.Loading:
		return "The register of care relationships is being read." + meanwhile
	case len(c.Silent) > 0:
		return "Nothing is heard of admissions and transfers" + s.careSince(c) + " (" + strings.Join(c.Silent, ", ") + ")." + meanwhile
	}
	return ""
}

func (s *Site) careSince(c Care) string {
	if c.AsOf.IsZero() {
		return " so far"
	}
	return "; the last message came at " + s.formatTime(c.AsOf)
}

func (s *Site) carePart(h Health) report {
	p := report{name: "Care relationships"}
	banner := s.careBanner(h.Care)
	switch {
	case !h.Care.Set:
		p.tag, p.text = notSetUp(), "Nobody is asked for one."
	case h.Care.Failed:
		p.tag, p.text = down(), banner
		p.todo = "the log of the gateway says what is wrong. It tries again by itself."
	case h.Care.Loading:
		p.tag, p.text, p.todo = attention(), banner, "nothing, unless it takes longer than a minute."
	case banner != "":
		p.tag, p.text = attention(), banner
		p.todo = "ask whoever runs these systems whether they send, and look at the network between. What was missed must be sent again."
	default:
		p.tag, p.text = working(), formatCount(uint64(max(h.Care.Patients, 0)))+" patients; the last message came at "+s.formatTime(h.Care.AsOf)+"."
	}
	return p
}
