package explain

import (
	"fmt"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/matron-epr/matron/audit/detect/neutral"
)

// SiteFile is a file of templates of the site. Its comments are the manual.
type SiteFile struct {
	Templates []SiteTemplate `yaml:"templates"`
}

// SiteTemplate is a reason that the site knows and no template of Matron covers:
// people of these roles, teams or wards and a line of care of these kinds.
type SiteTemplate struct {
	// ID is short and of a-z, 0-9 and hyphens, for example fracture-clinic. Required.
	ID string `yaml:"id"`
	// State is shadow or on. In shadow it is counted what it would explain, and it
	// explains nothing. Default: shadow.
	State string `yaml:"state"`
	// Strength is weak or strong. Only a strong template explains. Default: weak.
	Strength string `yaml:"strength"`
	// ApprovedBy says who has approved it. Required when it is on.
	ApprovedBy string `yaml:"approved_by"`
	// Roles, Teams and Wards are of the people whom it is for, as the staff list and
	// the rota have them; a person must be in one of each list that is given. At
	// least one list is required.
	Roles []string `yaml:"roles"`
	Teams []string `yaml:"teams"`
	Wards []string `yaml:"wards"`
	Care  SiteCare `yaml:"care"`
	// Reviewer and Patient are the sentences that say so. The patient's names nobody.
	// Required.
	Reviewer string `yaml:"reviewer"`
	Patient  string `yaml:"patient"`
}

// SiteCare is which lines of the care feed a template of the site is about.
type SiteCare struct {
	// Kinds is one or more of inpatient, emergency, outpatient, referral, order,
	// result, theatre, document, team and task. Required.
	Kinds []string `yaml:"kinds"`
	// Teams, Wards and Specialties narrow it down; a line must be of one of each
	// list that is given.
	Teams       []string `yaml:"teams"`
	Wards       []string `yaml:"wards"`
	Specialties []string `yaml:"specialties"`
	// Before and After are how long around the line it explains. Default 0 and 24h,
	// at most 2160h.
	Before time.Duration `yaml:"before"`
	After  time.Duration `yaml:"after"`
}

// Problem is one mistake in a file of templates.
type Problem struct{ Path, Text string }

const (
	stateOn     = "on"
	stateShadow = "shadow"
	longest     = 90 * 24 * time.Hour
	maxSentence = 300
)

var siteID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Validate reports every mistake of a file.
func (f *SiteFile) Validate() []Problem {
	var ps []Problem
	seen := map[string]bool{}
	for i := range f.Templates {
		t, path := &f.Templates[i], fmt.Sprintf("templates[%d].", i)
		add := func(field, format string, args ...any) {
			ps = append(ps, Problem{path + field, fmt.Sprintf(format, args...)})
		}
		switch {
		case !siteID.MatchString(t.ID):
			add("id", "must be of a-z, 0-9 and hyphens, at most 40, for example fracture-clinic")
		case seen[t.ID]:
			add("id", "%q is there twice", t.ID)
		}
		seen[t.ID] = true
		t.validate(add)
	}
	return ps
}

func (t *SiteTemplate) validate(add func(field, format string, args ...any)) {
	if !slices.Contains([]string{"", stateShadow, stateOn}, t.State) {
		add("state", "%q is not shadow or on", t.State)
	}
	if !slices.Contains([]string{"", Weak, Strong}, t.Strength) {
		add("strength", "%q is not weak or strong", t.Strength)
	}
	if t.State == stateOn && t.ApprovedBy == "" {
		add("approved_by", "is missing: say who has approved a template that is on")
	}
	if len(t.Roles)+len(t.Teams)+len(t.Wards) == 0 {
		add("roles", "is missing: name roles, teams or wards of the people whom it is for")
	}
	if len(t.Care.Kinds) == 0 {
		add("care.kinds", "is missing: name the kinds of care")
	}
	for _, k := range t.Care.Kinds {
		if kindOf(k) == kinds {
			add("care.kinds", "%q is no kind of care: inpatient, emergency, outpatient, referral, order, result, theatre, document, team or task", k)
		}
	}
	for field, d := range map[string]time.Duration{"care.before": t.Care.Before, "care.after": t.Care.After} {
		if d < 0 || d > longest {
			add(field, "must be from 0 to %dh", int(longest.Hours()))
		}
	}
	for field, s := range map[string]string{"reviewer": t.Reviewer, "patient": t.Patient} {
		if n := utf8.RuneCountInString(s); n == 0 || n > maxSentence {
			add(field, "must be one sentence of at most %d characters", maxSentence)
		}
		if word := neutral.Accuses(s); word != "" {
			add(field, "says %q: an explanation is neutral", word)
		}
	}
}

// siteTemplate is a template of the site, by the numbers of an engine.
type siteTemplate struct {
	*SiteTemplate
	on, strong                     bool
	roles, teams, wards            []uint32
	careTeams, careWards, careArts []uint32
	kinds                          [kinds + 1]bool
	before, after                  int64
}

func (e *Engine) compile(t *SiteTemplate) siteTemplate {
	numbers := func(words []string) []uint32 {
		var out []uint32
		for _, w := range words {
			out = append(out, e.words.Number(w))
		}
		return out
	}
	s := siteTemplate{
		SiteTemplate: t, on: t.State == stateOn, strong: t.Strength == Strong, roles: numbers(t.Roles), teams: numbers(t.Teams), wards: numbers(t.Wards),
		careTeams: numbers(t.Care.Teams), careWards: numbers(t.Care.Wards), careArts: numbers(t.Care.Specialties),
		before: t.Care.Before.Microseconds(), after: t.Care.After.Microseconds(),
	}
	if t.Care.After == 0 {
		s.after = day
	}
	for _, k := range t.Care.Kinds {
		s.kinds[kindOf(k)] = true
	}
	return s
}

// isFor says whether a template is for somebody.
func (s *siteTemplate) isFor(p *place) bool {
	in := func(of []uint32, has func(uint32) bool) bool { return len(of) == 0 || slices.ContainsFunc(of, has) }
	return in(s.roles, func(r uint32) bool { return r == p.role }) && in(s.teams, p.of) && in(s.wards, p.on)
}

// isAbout says whether a template is about a line of care at a moment.
func (s *siteTemplate) isAbout(c *care, at int64) bool {
	one := func(of []uint32, n uint32) bool { return len(of) == 0 || slices.Contains(of, n) }
	return s.kinds[c.kind] && c.within(window{before: s.before, after: s.after}, at) &&
		one(s.careTeams, c.team) && one(s.careWards, c.ward) && one(s.careArts, c.specialty)
}

// matchSite looks for templates of the site that explain an access.
func (e *Engine) matchSite(p *place, at int64, around []*care, h *hits) Mask {
	var m Mask
	for i := range e.site {
		s := &e.site[i]
		if !s.isFor(p) {
			continue
		}
		for _, c := range around {
			if !s.isAbout(c, at) {
				continue
			}
			if !s.on {
				m |= shadowBit
				break
			}
			m |= h.add(hit{template: Local, strong: s.strong, care: c, site: s})
		}
	}
	return m
}
