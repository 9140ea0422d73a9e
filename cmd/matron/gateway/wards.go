package gateway

import (
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/replay"
)

// severalWards stands for more wards than a table can tell apart.
const severalWards = "several wards"

// wardsOf says where people work by the staff list, on the day of a record: the ward of
// the person, for records that do not say where the patient was.
func wardsOf(staff []feeds.Staff) replay.Wards {
	lines := map[string][]feeds.Staff{}
	for _, s := range staff {
		lines[s.Person] = append(lines[s.Person], s)
	}
	return func(r *audit.Record) string {
		for _, s := range lines[r.Person] {
			if !worked(s, r.Time) {
				continue
			}
			if len(s.Wards) > 2 {
				return severalWards
			}
			return strings.Join(s.Wards, ", ")
		}
		return ""
	}
}

// worked reports whether a line of the staff list holds at a time. Its days are
// those of the hospital; To is included.
func worked(s feeds.Staff, at time.Time) bool {
	return (s.From.IsZero() || !at.Before(s.From)) && (s.To.IsZero() || at.Before(s.To.AddDate(0, 0, 1)))
}

// Wards reads the staff list that c names, for a command beside the gateway.
// Without one nobody's ward is known.
func Wards(c config.Config) (replay.Wards, error) {
	if c.Detection.Staff == "" {
		return wardsOf(nil), nil
	}
	key, err := readKey(paths{c.DataDir}.matchKey())
	if err != nil {
		return nil, err
	}
	hash, err := feeds.NewHasher(key)
	if err != nil {
		return nil, err
	}
	read, err := ReadFeeds(hash, config.Detection{Staff: c.Detection.Staff, Mappings: c.Detection.Mappings}, nil)
	return wardsOf(read.Staff), err
}
