package history

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
)

// rawJSON is a JSON value that nobody has looked into.
type rawJSON = jsontext.Value

// ParseAccess reads one line of an accesses file and appends one row for each
// of its patients. unknown are the fields that the format does not have.
func (p *Parser) ParseAccess(rows []audit.Imported, line []byte) (_ []audit.Imported, unknown []string, err error) {
	var f fields
	if err := json.Unmarshal(line, &f); err != nil {
		return rows, nil, intake.Mistake(line, err)
	}
	if len(f.Extra) > 0 {
		if f.Extra, unknown, err = intake.Clean(f.Extra, p.hasher); err != nil {
			return rows, nil, err
		}
	}
	rows, err = p.append(rows, &f)
	return rows, unknown, err
}
