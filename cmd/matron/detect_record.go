package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// runsFile is the record of who ran detection over a folder, beside what came of it.
// With a configuration the journal has that record.
const runsFile = "detection-runs.ndjson"

// runRecord is one line of it.
type runRecord struct {
	At        time.Time         `json:"at"`
	By        string            `json:"by"` // account of the operating system
	Command   string            `json:"command"`
	Options   map[string]string `json:"options"`
	Inputs    map[string]string `json:"inputs"` // file, and SHA-256 of its bytes
	Version   string            `json:"version"`
	Detectors map[string]int    `json:"detectors"` // with their versions
	Cases     int               `json:"cases"`
}

// recordRun makes durable who ran detection over a folder, before anything that names
// people is written. On error nothing is written.
func (f *folder) recordRun(command string, options map[string]string, made int) error {
	who, err := account()
	if err != nil {
		return err
	}
	r := runRecord{
		At: time.Now().UTC().Truncate(time.Second), By: who, Command: command, Options: options, Inputs: map[string]string{},
		Version: version, Detectors: map[string]int{}, Cases: made,
	}
	for _, path := range f.inputs {
		if r.Inputs[filepath.Base(path)], err = hashOf(path); err != nil {
			return err
		}
	}
	for _, d := range detectors.Definitions() {
		r.Detectors[d.ID] = d.Version
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(f.dir, runsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	_, err = out.Write(append(line, '\n'))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	return nil
}

// inputFiles are the files that a folder is read from.
func inputFiles(accesses string, d config.Detection) []string {
	all := []string{accesses, d.Staff, d.Rota, d.Patients, d.Care, d.Devices}
	return slices.DeleteFunc(all, func(path string) bool { return path == "" })
}

func hashOf(path string) (string, error) {
	in, err := os.Open(path) //nolint:gosec // a file that was just read as input
	if err != nil {
		return "", fmt.Errorf("record the run: %w", err)
	}
	defer func() { _ = in.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return "", fmt.Errorf("record the run: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
