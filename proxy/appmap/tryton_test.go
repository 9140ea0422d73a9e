package appmap

import (
	"strings"
	"testing"
)

// TestTablesOfCallsAreChecked: a word that means nothing would make calls unmapped,
// or of another area, without anybody noticing.
func TestTablesOfCallsAreChecked(t *testing.T) {
	_, err := Parse("calls.yaml", []byte(`app: calls
extends: gnuhealth
tables:
  operations: {end: wriet}
  areas: {gnuhealth.newborn: note}
  calls: {common.db.exist: hom}
  options: {gzip-bodies: sometimes}
rules: []
`))
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, want := range []string{
		`calls.yaml:4:21: tables.operations.end: "wriet" is not allowed here. Did you mean write?`,
		`tables.areas.gnuhealth.newborn: "note" is not allowed here. Did you mean notes?`,
		`tables.calls.common.db.exist: "hom" is not allowed here. Did you mean home?`,
		`tables.options.gzip-bodies: "sometimes" is not allowed here`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}
