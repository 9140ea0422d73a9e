package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
)

// FuzzImport: no file makes an import panic or fail but for what the file as a
// whole is; every line is accounted for; what goes in is complete, stands once,
// and a second run adds nothing.
func FuzzImport(f *testing.F) {
	for _, name := range []string{"accesses", "fhir", "csv"} {
		ar, err := txtar.ParseFile("testdata/" + name + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(corpus(ar)))
	}
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Add([]byte(`{"id":"1","time":"2026-01-01T00:00:00Z","person":"S","action":"read","x":{"name":[1,{"a":"9990000018"}]}}`))
	h := hasher(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		store := new(set)
		for again := range 2 {
			c := config(store, h)
			c.Mapping = &history.Mapping{Columns: map[string]string{"id": "EventID", "time": "When", "person": "User", "action": "Verb", "patients": "MRNs"}, Delimiter: ";"}
			c.KeepLines = true
			rejected := 0
			c.Rejects = func(r intake.Reject) error {
				rejected++
				if r.Line < 1 || r.Reason == "" || !utf8.ValidString(r.Reason) || len(r.Reason) > 600 {
					t.Errorf("reject %+v", r)
				}
				return nil
			}
			before := len(store.rows)
			s, err := history.Import(context.Background(), c, bytes.NewReader(data))
			if err != nil {
				if !errors.Is(err, intake.ErrFile) && !bytes.HasPrefix(data, []byte("\x28\xb5\x2f\xfd")) {
					t.Fatal(err)
				}
				return
			}
			if s.Rejected != rejected || s.Lines != s.Imported+s.Known+s.Rejected || s.Rows != len(store.rows)-before {
				t.Errorf("%+v, %d rejects, %d rows", s, rejected, len(store.rows)-before)
			}
			if again == 1 && s.Imported > 0 {
				t.Errorf("the second run imports %d", s.Imported)
			}
		}
		for _, r := range store.rows {
			if r.ID == "" || r.Person == "" || r.Action == "" || r.Time.Year() < 1980 || r.Site != "RBA" || r.Batch == "" || r.Origin == "" || r.Line == 0 {
				t.Errorf("row %+v", r)
			}
			if r.Extra != "" && !json.Valid([]byte(r.Extra)) {
				t.Errorf("extra %q", r.Extra)
			}
			if r.NHS != "" && len(r.NHS) != 64 {
				t.Errorf("NHS number %q", r.NHS)
			}
		}
	})
}

// set is a store in memory.
type set struct{ rows []audit.Imported }

func (s *set) FindImported(context.Context, []audit.Imported) ([]audit.Imported, error) {
	return s.rows, nil
}

func (s *set) InsertImported(_ context.Context, _ string, rows []audit.Imported) error {
	s.rows = append(s.rows, rows...)
	return nil
}
