package hazardlog

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed standard/*.json
var standards embed.FS

// standardFormat is the version of the file format of standards.
const standardFormat = "matron-standard/1"

// Role says whose log it is: each has its own standard, clinical safety officer
// and approval.
type Role string

// The roles.
const (
	Manufacturer Role = "manufacturer"
	Deployer     Role = "deployer"
)

// Standard is one edition of a standard, as data: what it numbers and lists. A
// later edition stands beside the earlier one as another file.
type Standard struct {
	Format       string              `json:"format"`
	ID           string              `json:"id"` // dcb0129-4.2
	Title        string              `json:"title"`
	Edition      string              `json:"edition"` // in words
	Role         Role                `json:"role"`
	Severities   []Severity          `json:"severities"`  // columns of the matrix, the least first
	Likelihoods  []Row               `json:"likelihoods"` // rows, the highest first
	Levels       []Level             `json:"levels"`      // the worst first
	Consequences []Consequence       `json:"consequences"`
	Statuses     []Status            `json:"statuses"`
	ControlTypes []ControlType       `json:"control_types"`
	Required     map[string][]string `json:"required"` // fields, by kind of subject
	Clauses      []Clause            `json:"clauses"`
}

// Row is a row of the matrix: the risk for each severity.
type Row struct {
	Word    Likelihood `json:"word"`
	Meaning string     `json:"meaning"`
	Risks   []Risk     `json:"risks"`
}

// Level is what a risk means.
type Level struct {
	Risk          Risk          `json:"risk"`
	Meaning       string        `json:"meaning"`
	Acceptability Acceptability `json:"acceptability"`
	Reason        string        `json:"reason,omitempty"` // that acceptance must give
}

// Acceptability says whether a risk may be left as it is.
type Acceptability string

// The acceptabilities. NotRated is nobody's permission.
const (
	NotRated     Acceptability = "not rated"
	Unacceptable Acceptability = "unacceptable"
	WithReason   Acceptability = "acceptable with a stated reason"
	Acceptable   Acceptability = "acceptable"
)

// Consequence is one kind of harm, and how severe it is when it reaches one
// patient or several. An empty severity means that the standard gives none.
type Consequence struct {
	ID      string   `json:"id"`
	Text    string   `json:"text"`
	One     Severity `json:"one"`
	Several Severity `json:"several,omitempty"`
}

// Clause is one requirement. Ref is "" where its number is not known for sure:
// it is then named by its title alone.
type Clause struct {
	Topic string `json:"topic"`
	Ref   string `json:"ref,omitempty"`
	Title string `json:"title"`
}

// String names the clause.
func (c Clause) String() string {
	if c.Ref == "" {
		return c.Title
	}
	return c.Ref + " " + c.Title
}

// LoadStandard returns the embedded standard with this id.
func LoadStandard(id string) (*Standard, error) {
	data, err := standards.ReadFile(path.Join("standard", id+".json"))
	if err != nil || strings.ContainsAny(id, "/\\") {
		return nil, fmt.Errorf("there is no standard %q: there are %s", id, strings.Join(StandardIDs(), ", "))
	}
	var s Standard
	if err := strict(data, &s); err != nil {
		return nil, fmt.Errorf("standard %s: %w", id, err)
	}
	if err := s.check(id); err != nil {
		return nil, fmt.Errorf("standard %s: %w", id, err)
	}
	return &s, nil
}

// StandardIDs lists the embedded standards.
func StandardIDs() []string {
	var ids []string
	files, _ := standards.ReadDir("standard") // embedded above
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(f.Name(), ".json"))
	}
	return ids
}

// check refuses a standard that would leave a cell of the matrix or a level
// without meaning.
func (s *Standard) check(id string) error {
	if s.Format != standardFormat || s.ID != id {
		return fmt.Errorf("format or id is not %s and %s", standardFormat, id)
	}
	for _, row := range s.Likelihoods {
		if len(row.Risks) != len(s.Severities) {
			return fmt.Errorf("row %s has %d cells for %d severities", row.Word, len(row.Risks), len(s.Severities))
		}
		for _, risk := range row.Risks {
			if s.Level(risk).Acceptability == NotRated {
				return fmt.Errorf("row %s has a risk %d that no level explains", row.Word, int(risk))
			}
		}
	}
	for _, c := range s.Consequences {
		for _, severity := range []Severity{c.One, c.Several} {
			if severity != "" && !slices.Contains(s.Severities, severity) {
				return fmt.Errorf("consequence %s has the severity %q, which is no column", c.ID, severity)
			}
		}
	}
	return nil
}

// Risk looks a cell up. Without both words, or with one outside the matrix, it
// is 0: not rated. The matrix is a table, never arithmetic.
func (s *Standard) Risk(severity Severity, likelihood Likelihood) Risk {
	column := slices.Index(s.Severities, severity)
	row := slices.IndexFunc(s.Likelihoods, func(r Row) bool { return r.Word == likelihood })
	if column < 0 || row < 0 {
		return 0
	}
	return s.Likelihoods[row].Risks[column]
}

// Rate returns the rating with the severity that its consequence gives, where
// it has one and no severity, and with its risk looked up.
func (s *Standard) Rate(r Rating) Rating {
	if r.Severity == "" && r.Consequence != "" {
		r.Severity = s.Severity(r.Consequence, r.Patients)
	}
	r.risk = s.Risk(r.Severity, r.Likelihood)
	return r
}

// Severity is what a consequence for one or several patients amounts to, ""
// where the standard gives none.
func (s *Standard) Severity(consequence string, patients Patients) Severity {
	for _, c := range s.Consequences {
		switch {
		case c.ID != consequence:
		case patients == OnePatient:
			return c.One
		case patients == SeveralPatients:
			return c.Several
		}
	}
	return ""
}

// Level explains a risk. One that no level names is not rated.
func (s *Standard) Level(risk Risk) Level {
	for _, l := range s.Levels {
		if l.Risk == risk {
			return l
		}
	}
	return Level{Meaning: "Nobody has rated this yet.", Acceptability: NotRated}
}

// Clause returns the clause on a topic. A standard without one gives a clause
// that names nothing but the topic.
func (s *Standard) Clause(topic string) Clause {
	for _, c := range s.Clauses {
		if c.Topic == topic {
			return c
		}
	}
	return Clause{Topic: topic, Title: topic}
}

// lower reports whether severity a is less than b, both being columns.
func (s *Standard) lower(a, b Severity) bool {
	i, j := slices.Index(s.Severities, a), slices.Index(s.Severities, b)
	return i >= 0 && j >= 0 && i < j
}

// lessLikely reports whether likelihood a is less than b, both being rows.
func (s *Standard) lessLikely(a, b Likelihood) bool {
	index := func(l Likelihood) int {
		return slices.IndexFunc(s.Likelihoods, func(r Row) bool { return r.Word == l })
	}
	i, j := index(a), index(b)
	return i >= 0 && j >= 0 && i > j // the highest stands first
}

// words lists what the matrix calls its rows.
func (s *Standard) words() []Likelihood {
	list := make([]Likelihood, len(s.Likelihoods))
	for i, r := range s.Likelihoods {
		list[i] = r.Word
	}
	return list
}
