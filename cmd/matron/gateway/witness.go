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
	policy, roots, err := witnessPolicy(w)
	if err != nil || len(roots) == 0 {
		return nil, err
	}
	return newWitnessSet(policy, roots, w.Timeout, now)
}

// witnessPolicy reads who cosigns, and the root of each one's certificate.
func witnessPolicy(w config.Witness) (policy witness.Policy, roots []string, err error) {
	if w.PolicyFile != "" {
		policy, err := witness.ReadPolicy(w.PolicyFile)
		return policy, make([]string, len(policy.Witnesses)), err
	}
	if len(w.Witnesses) == 0 {
		return policy, nil, nil
	}
	var keys []witness.Verifier
	for _, p := range w.Witnesses {
		key, err := witness.ReadVerifier(p.KeyFile, witness.WitnessKey)
		if err != nil {
			return policy, nil, fmt.Errorf("witness %s: %w", p.URL, err)
		}
		keys, roots = append(keys, key), append(roots, p.CAFile)
	}
	if policy, err = witness.Quorum(nil, keys, w.Quorum); err != nil {
		return policy, nil, err
	}
	for i, p := range w.Witnesses {
		policy.Witnesses[i].URL = p.URL
	}
	return policy, roots, nil
}

// WitnessPolicy says whose cosignatures the checkpoints of c's gateway have; ok is
// false when nobody is asked for any.
func WitnessPolicy(c config.Config) (policy witness.Policy, ok bool, err error) {
	policy, roots, err := witnessPolicy(c.Witness)
	return policy, len(roots) > 0, err
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
