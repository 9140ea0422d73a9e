package hazardlog

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ExportFormat is the version of the format of exports.
const ExportFormat = "matron-hazard-log-export/1"

// export is a log as a file: what it holds, for readers, and the events that made
// it, from which alone it is read back.
type export struct {
	Format string `json:"format"`
	State  string `json:"state"` // in words, when it was exported
	// InQuestion are the hazards whose rating was in question then, and the controls
	// whose evidence was contradicted.
	InQuestion map[string][]string `json:"in_question,omitempty"`
	SHA256     string              `json:"sha256"`
	Content    json.RawMessage     `json:"content"` // the canonical snapshot
	Versions   []Approval          `json:"versions"`
	Events     []Event             `json:"events"`
	Last       string              `json:"last"` // hash of the last event, which no other names
}

// Export writes the log down with its whole history. inQuestion are the hazards whose
// rating is in question now, with the controls whose evidence is contradicted: nil
// where nobody has looked.
func (l Log) Export(inQuestion map[string][]string) ([]byte, error) {
	content, err := l.Snapshot()
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(export{ExportFormat, l.State(), inQuestion, Hash(content), content, whole(l.Versions), l.events, l.last()}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return append(b, '\n'), nil
}

// Import reads an export strictly. It refuses one whose events do not follow each
// other as they were written, or do not make what the file says for readers.
func Import(data []byte) (Log, error) {
	var file export
	if err := strict(data, &file); err != nil {
		return Log{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if file.Format != ExportFormat {
		return Log{}, fmt.Errorf("%w: format is %q, expected %q", ErrInvalid, file.Format, ExportFormat)
	}
	for i, e := range file.Events { // the file is indented, the events were not
		var value bytes.Buffer
		if err := json.Compact(&value, e.Value); err != nil {
			return Log{}, fmt.Errorf("%w: event %d: %w", ErrInvalid, i+1, err)
		}
		file.Events[i].Value = value.Bytes()
	}
	l, err := Fold(file.Events)
	if err != nil {
		return Log{}, err
	}
	content, err := l.Snapshot()
	if err != nil {
		return Log{}, err
	}
	var stated bytes.Buffer
	if err := json.Compact(&stated, file.Content); err != nil {
		return Log{}, fmt.Errorf("%w: content: %w", ErrInvalid, err)
	}
	if file.Last != l.last() || file.SHA256 != Hash(content) || stated.String()+"\n" != string(content) {
		return Log{}, fmt.Errorf("%w: the content is not what its events make: the file was altered", ErrInvalid)
	}
	return l, nil
}
