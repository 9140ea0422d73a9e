package learn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit/detect/cases"
)

// First is the version of the scoring before anybody reviewed anything. It has no
// file and no weights.
const First = 1

// Version is one set of weights and everything that it follows from. It never
// changes once it has a number.
type Version struct {
	Number int    `json:"version"`
	Digest string `json:"digest"` // of all but version, digest, made_at and made_by: the same input gives the same
	Parent int    `json:"parent"` // the version that was active
	Inputs []File `json:"inputs"`

	Cases     Count     `json:"cases"`   // that were judged
	Flagged   Count     `json:"flagged"` // of them, without those drawn by lot
	LeftOut   int       `json:"left_out"`
	Unflagged Unflagged `json:"unflagged"`
	Floor     float64   `json:"floor"`
	Lean      float64   `json:"lean"`
	Groups    []Group   `json:"groups"`

	MadeAt time.Time `json:"made_at"`
	MadeBy string    `json:"made_by"`
}

// File is something that a version was learnt from.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Number of digits of a digest.
const digestLength = 32

// digest is over everything that a version says, but not over who made it when.
func (v Version) digest() (string, error) {
	v.Number, v.Digest, v.MadeAt, v.MadeBy = 0, "", time.Time{}, ""
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("digest of a version: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:digestLength], nil
}

// Apply puts the weights of a version into a scoring. What was learnt of another
// version of a detector does not count.
func (v *Version) Apply(s cases.Scoring) cases.Scoring {
	s.Version, s.Weights = v.Number, map[string]map[string]float64{}
	now := current()
	for _, g := range v.Groups {
		if g.Version != now[g.Detector] || s.Protected[g.Detector] {
			continue
		}
		if s.Weights[g.Detector] == nil {
			s.Weights[g.Detector] = map[string]float64{}
		}
		s.Weights[g.Detector][g.Role] = g.Weight
	}
	return s
}

// Weight is that of a detector in a role, 1 where nothing was learnt.
func (v *Version) Weight(detector, role string) float64 {
	weight := 1.
	for _, g := range v.Groups {
		if g.Detector != detector {
			continue
		}
		if g.Role == role {
			return g.Weight
		}
		if g.Role == cases.AnyRole {
			weight = g.Weight
		}
	}
	return weight
}
