package feeds

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json"

	"github.com/matron-epr/matron/audit/intake"
)

// Protected is what a patients file says about the protection of one record. Its
// numbers are in clear: whoever takes it keeps none of them as they are.
type Protected struct {
	ID         string
	NHSNumber  string
	MergedInto string
	Flags      []string // vip, staff, sealed, s-flag, deceased
}

// Protected hands on what a patients file says about the protection of records, line
// by line and without the rest. Lines that do not say it are handed to Reject.
func (r Reader) Protected(in io.Reader, visit func(Protected) error) (Feed, error) {
	return r.each(in, PatientsFeed, func(line []byte) (bad, err error) {
		var p struct {
			ID     string   `json:"patient"`
			NHS    string   `json:"nhs_number"`
			Flags  []string `json:"flags"`
			Died   string   `json:"died"`
			Merged string   `json:"merged_into"`
		}
		if err := json.Unmarshal(line, &p); err != nil {
			return intake.Mistake(line, err), nil
		}
		var c checks
		died := c.day("died", p.Died)
		c.add(intake.Required("patient", p.ID != ""))
		c.add(intake.NHSNumber("nhs_number", p.NHS))
		for _, f := range p.Flags {
			c.add(intake.OneOf("flags", f, "vip", "staff", "sealed", "s-flag", "deceased"))
		}
		if err := c.err(); err != nil {
			return err, nil
		}
		if !died.IsZero() {
			p.Flags = append(p.Flags, "deceased")
		}
		return nil, visit(Protected{ID: p.ID, NHSNumber: p.NHS, MergedInto: p.Merged, Flags: p.Flags})
	})
}

// StaffNumbers hands on the NHS number of everybody in a staff file who has one.
func (r Reader) StaffNumbers(in io.Reader, visit func(nhsNumber string) error) (Feed, error) {
	return r.each(in, StaffFeed, func(line []byte) (bad, err error) {
		var s struct {
			Person string `json:"person"`
			NHS    string `json:"nhs_number"`
		}
		if err := json.Unmarshal(line, &s); err != nil {
			return intake.Mistake(line, err), nil
		}
		var c checks
		c.add(intake.Required("person", s.Person != ""))
		c.add(intake.NHSNumber("nhs_number", s.NHS))
		if err := c.err(); err != nil || s.NHS == "" {
			return err, nil
		}
		return nil, visit(s.NHS)
	})
}

// each takes a file line by line. take says what is wrong with a line, which rejects
// it, or why the file cannot be gone on with.
func (r Reader) each(in io.Reader, kind Kind, take func(line []byte) (bad, err error)) (Feed, error) {
	feed := Feed{Kind: kind}
	next, done, err := r.open(in, kind)
	if err != nil {
		return feed, err
	}
	defer done()
	for {
		line, number, bad, err := next()
		if errors.Is(err, io.EOF) {
			return feed, nil
		}
		if err == nil && bad == nil {
			bad, err = take(line)
		}
		if err != nil {
			return feed, err
		}
		if bad == nil {
			feed.Rows++
			continue
		}
		feed.Rejected++
		if r.Reject == nil {
			continue
		}
		if err := r.Reject(intake.Reject{Line: number, Reason: bad.Error()}); err != nil {
			return feed, err
		}
	}
}
