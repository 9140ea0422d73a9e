package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// witnessPath is where other gateways ask this one for cosignatures.
const witnessPath = "/.matron/witness"

// openWitnesses reads who cosigns the checkpoints of the log; nil means that
// nobody is asked.
func openWitnesses(w config.Witness, now func() time.Time) (*witness.Set, error) {
	if w.PolicyFile != "" {
		policy, err := witness.ReadPolicy(w.PolicyFile)
		if err != nil {
			return nil, err
		}
		return newWitnessSet(policy, make([]string, len(policy.Witnesses)), w.Timeout, now)
	}
	if len(w.Witnesses) == 0 {
		return nil, nil
	}
	var keys []witness.Verifier
	var roots []string
	for _, p := range w.Witnesses {
		key, err := witness.ReadVerifier(p.KeyFile, witness.WitnessKey)
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", p.URL, err)
		}
		keys, roots = append(keys, key), append(roots, p.CAFile)
	}
	policy, err := witness.Quorum(nil, keys, w.Quorum)
	if err != nil {
		return nil, err
	}
	for i, p := range w.Witnesses {
		policy.Witnesses[i].URL = p.URL
	}
	return newWitnessSet(policy, roots, w.Timeout, now)
}

func newWitnessSet(policy witness.Policy, roots []string, timeout time.Duration, now func() time.Time) (*witness.Set, error) {
	clients := make([]*http.Client, len(roots))
	for i, file := range roots {
		var err error
		if clients[i], err = witness.NewHTTPClient(file); err != nil {
			return nil, err
		}
	}
	return witness.NewSet(witness.SetConfig{Policy: policy, HTTP: clients, Timeout: timeout, Now: now})
}

// witnessedLogs reads the keys of the logs that this gateway cosigns.
func witnessedLogs(w config.Witnessing) ([]witness.Verifier, error) {
	logs := []witness.Verifier{}
	for _, l := range w.Logs {
		key, err := witness.ReadVerifier(l.KeyFile, witness.LogKey)
		if err != nil {
			return nil, err
		}
		logs = append(logs, key)
	}
	return logs, nil
}

// initWitness makes the witness of this gateway, when it is to be one, and lets
// it follow the logs of the configuration. What it has cosigned stays.
func initWitness(c config.Config, now time.Time) error {
	logs, err := witnessedLogs(c.Witnessing)
	if err != nil || len(logs) == 0 {
		return err
	}
	dir := paths{c.DataDir}.witness()
	_, err = witness.Create(dir, "matron/"+c.Site+"/"+c.Source+"/witness")
	if err != nil && !errors.Is(err, witness.ErrExists) {
		return fmt.Errorf("make witness: %w", err)
	}
	for _, l := range logs {
		if err := witness.AddLog(dir, l, true, now); err != nil { // the configuration says that every key in it is right
			return fmt.Errorf("make witness: %w", err)
		}
	}
	return nil
}

// openWitness opens what Init has made; without logs there is no witness.
func (g *Gateway) openWitness(context.Context) error {
	logs, err := witnessedLogs(g.cfg.Witnessing)
	if err != nil || len(logs) == 0 {
		return err
	}
	g.witness, err = witness.Open(witness.Config{Dir: paths{g.cfg.DataDir}.witness(), Logs: logs, Now: g.now, Log: g.log})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, witness.ErrNotAdded) {
		return fmt.Errorf("%w: %w", ErrNotInitialised, err)
	}
	return err
}
