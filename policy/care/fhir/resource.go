package fhir

import (
	"encoding/json"
	"strings"
	"time"
)

// resource holds what is read of the three resources. R5 calls some of it otherwise.
type resource struct {
	ResourceType string          `json:"resourceType"`
	ID           string          `json:"id"`
	Meta         meta            `json:"meta"`
	Status       string          `json:"status"`
	Class        json.RawMessage `json:"class"` // Coding in R4
	Subject      reference       `json:"subject"`
	Period       period          `json:"period"`
	Start        instant         `json:"start"`
	End          instant         `json:"end"`
	Participant  []participant   `json:"participant"`
	Location     []location      `json:"location"`
	Managing     []reference     `json:"managingOrganization"`
	Identifier   json.RawMessage `json:"identifier"` // of a Patient, several; of a Bundle, one
	Entry        []struct {
		Resource json.RawMessage `json:"resource"`
	} `json:"entry"`
}

type meta struct {
	LastUpdated instant `json:"lastUpdated"`
}

type period struct {
	Start instant `json:"start"`
	End   instant `json:"end"`
}

type coding struct {
	Code string `json:"code"`
}

type concept struct {
	Coding []coding `json:"coding"`
}

func (c concept) is(code string) bool {
	for _, k := range c.Coding {
		if k.Code == code {
			return true
		}
	}
	return false
}

type reference struct {
	Reference  string     `json:"reference"`
	Type       string     `json:"type"`
	Identifier identifier `json:"identifier"`
}

type identifier struct {
	Use    string `json:"use"`
	System string `json:"system"`
	Value  string `json:"value"`
}

// names returns the type and id of the resource that a reference is to, relative
// or absolute.
func (r reference) names() (kind, id string) {
	path, _, _ := strings.Cut(r.Reference, "/_history/")
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return r.Type, ""
	}
	return parts[len(parts)-2], parts[len(parts)-1]
}

type participant struct {
	Type       []concept `json:"type"`
	Individual reference `json:"individual"` // Encounter R4
	Actor      reference `json:"actor"`      // Appointment, Encounter R5
	Member     reference `json:"member"`     // CareTeam
}

// who is the one whom a participant names, in whichever resource.
func (p participant) who() reference {
	for _, r := range []reference{p.Individual, p.Actor} {
		if r != (reference{}) {
			return r
		}
	}
	return p.Member
}

func (p participant) refers() bool {
	for _, t := range p.Type {
		if t.is("REF") {
			return true
		}
	}
	return false
}

type location struct {
	Location reference `json:"location"`
	Status   string    `json:"status"`
	Period   period    `json:"period"`
	Physical concept   `json:"physicalType"`
}

// instant is a dateTime, zero where there is none. A day begins at midnight UTC.
type instant struct{ time.Time }

// UnmarshalJSON reads the forms of dateTime and instant.
func (i *instant) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			i.Time = t
			return nil
		}
	}
	return errTime
}
