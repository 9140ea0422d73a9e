package dashboards

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// The kinds of opaque id.
const (
	kindPatient = "patient"
	kindStaff   = "staff"
	kindPlace   = "place"

	kindDecision = "decision"
)

// patientRef names a patient by the NHS number, by the number that the
// application uses, or by both.
type patientRef struct {
	ID        string
	NHSNumber string
}

// refOf prefers the NHS number, which is the same in every application.
func refOf(id, nhsNumber string) patientRef {
	if nhsNumber != "" {
		return patientRef{NHSNumber: nhsNumber}
	}
	return patientRef{ID: id}
}

// label names the patient on a page, masked unless revealed.
func (p patientRef) label(reveal bool) string {
	switch {
	case p.NHSNumber != "" && reveal:
		return formatNHSNumber(p.NHSNumber)
	case p.NHSNumber != "":
		return maskNHSNumber(p.NHSNumber)
	case reveal:
		return p.ID
	}
	return mask(p.ID)
}

// kind says what sort of number label shows.
func (p patientRef) kind() string {
	if p.NHSNumber != "" {
		return "NHS number"
	}
	return "Hospital number"
}

// patientURL is the address of "who viewed this record".
func (s *Site) patientURL(p patientRef, query url.Values) string {
	plain := "p" + p.ID
	switch {
	case p.NHSNumber != "" && p.ID != "":
		plain = "b" + p.NHSNumber + " " + p.ID
	case p.NHSNumber != "":
		plain = "n" + p.NHSNumber
	}
	return address(Base+"patients/"+s.seal.seal(kindPatient, plain), query)
}

// patientFrom reads what patientURL sealed.
func (s *Site) patientFrom(id string) (patientRef, error) {
	plain, err := s.seal.open(kindPatient, id)
	if err != nil || plain == "" {
		return patientRef{}, errOpaque
	}
	switch plain[0] {
	case 'n':
		return patientRef{NHSNumber: plain[1:]}, nil
	case 'b':
		number, id, _ := strings.Cut(plain[1:], " ")
		return patientRef{ID: id, NHSNumber: number}, nil
	}
	return patientRef{ID: plain[1:]}, nil
}

// staffURL is the address of what a member of staff did.
func (s *Site) staffURL(person string, query url.Values) string {
	return address(Base+"staff/"+s.seal.seal(kindStaff, person), query)
}

func (s *Site) staffFrom(id string) (string, error) {
	return s.seal.open(kindStaff, id)
}

// placeID seals where a list continues.
func (s *Site) placeID(p audit.Place) string {
	return s.seal.seal(kindPlace, p.Time.UTC().Format(time.RFC3339Nano)+" "+strconv.FormatUint(p.Seq, 10)+" "+p.Source)
}

// placeFrom reads what placeID sealed; "" is the start of the list.
func (s *Site) placeFrom(id string) (audit.Place, error) {
	if id == "" {
		return audit.Place{}, nil
	}
	plain, err := s.seal.open(kindPlace, id)
	if err != nil {
		return audit.Place{}, err
	}
	parts := strings.SplitN(plain, " ", 3)
	if len(parts) != 3 {
		return audit.Place{}, errOpaque
	}
	at, err := time.Parse(time.RFC3339Nano, parts[0])
	if err != nil {
		return audit.Place{}, errOpaque
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return audit.Place{}, errOpaque
	}
	return audit.Place{Time: at, Source: parts[2], Seq: seq}, nil
}

func address(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// because is the query that says why a page is opened; without a reason the
// page asks for one.
func because(reason string) url.Values {
	if reason == "" {
		return nil
	}
	return url.Values{"reason": {reason}}
}

// with copies a query and sets pairs in it; an empty value removes.
func with(query url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for key, values := range query {
		out[key] = values
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if out.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			out.Del(pairs[i])
		}
	}
	return out
}
