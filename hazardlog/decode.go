package hazardlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// strict decodes one JSON value without unknown names, names given twice or
// anything after it.
func strict(data []byte, into any) error {
	if err := refuseTwice(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the end")
	}
	return nil
}

// refuseTwice refuses an object in which a name stands twice: the decoder would
// take the last one and keep quiet about the first.
func refuseTwice(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') && t != json.Delim('[') {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if t == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("%q is given twice", name)
			}
			seen[name] = true
		}
		if err := refuseTwice(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
