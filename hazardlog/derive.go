package hazardlog

import (
	"encoding/json"
	"fmt"
)

// Derive makes the changes that begin the log of a deploying organisation from a
// manufacturer's: the same hazards and controls under the same ids, each with
// its line of descent. What the manufacturer's clinicians assessed is only
// proposed here: the deploying organisation's own score it for their setting.
// version is the manufacturer's, "" where none was approved.
func Derive(from Log, version string, head Head) ([]Change, error) {
	content, err := from.Snapshot()
	if err != nil {
		return nil, err
	}
	head.Role, head.Upstream = Deployer, &Origin{Log: from.ID, ID: "head", Version: version, SHA256: Hash(content)}
	list := []Change{{Act: OpenLog, Value: head, Why: "derived from log " + from.ID + ", version " + orNone(version)}}
	for _, h := range from.Hazards {
		origin, err := originOf(from, version, h)
		if err != nil {
			return nil, err
		}
		h.Initial, h.Residual, h.Acceptance = asProposal(h.Initial), asProposal(h.Residual), Acceptance{}
		h.Status, h.Origin = Open, origin
		list = append(list, Change{Act: Raise, Value: h})
	}
	for _, c := range from.Controls {
		origin, err := originOf(from, version, c)
		if err != nil {
			return nil, err
		}
		c.Origin = origin
		list = append(list, Change{Act: Raise, Value: c})
	}
	for _, t := range from.Transfers {
		t.State, t.By, t.Reason = Offered, "", ""
		if head.Organisation != "" {
			t.To = head.Organisation
		}
		list = append(list, Change{Act: Raise, Value: t})
	}
	return list, nil
}

func originOf(from Log, version string, v Value) (*Origin, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", v.Subject(), err)
	}
	return &Origin{Log: from.ID, ID: v.Subject().ID, Version: version, SHA256: Hash(text)}, nil
}

func asProposal(r Rating) Rating {
	if r.Risk().Rated() {
		r.State = RatingProposed
	}
	r.By = ""
	return r
}

func orNone(version string) string {
	if version == "" {
		return "none approved"
	}
	return version
}
