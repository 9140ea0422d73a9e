package promotion

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/matron-epr/matron/cmd/matron/replay"
)

const (
	verdictFormat = "matron-policy-verdict/v1"

	// VerdictAge is how old a verdict may be when a candidate is approved: what staff
	// do changes, and so does the record that was replayed.
	VerdictAge = 7 * 24 * time.Hour
	// VerdictSpan is the least time that a verdict must be about: a day has its night.
	VerdictSpan = 24 * time.Hour
	// ahead is how far clocks may differ.
	ahead = 5 * time.Minute
	// maxVerdict bounds the file of a verdict in bytes.
	maxVerdict = 8 << 20
)

// Verdict is what a replay found: which rules were asked about which time, who asked,
// and what they would change. The gateway's own seal stands at its end, so that
// nobody who lacks the gateway's key can change a number.
type Verdict struct {
	Format    string    `json:"format"`
	Candidate string    `json:"candidate"` // revision that was asked
	Base      string    `json:"base"`      // revision in force at that time
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	ReadFrom  string    `json:"read_from"`
	MadeAt    time.Time `json:"made_at"`
	MadeBy    string    `json:"made_by"` // account on this machine
	replay.Report
	Seal string `json:"seal,omitempty"` // HMAC-SHA256 of the rest, hex
}

// Sealed returns v with its seal. secret is the gateway's, at least 32 bytes.
func (v Verdict) Sealed(secret []byte) (Verdict, error) {
	v.Format, v.Seal = verdictFormat, ""
	mac, err := v.mac(secret)
	v.Seal = hex.EncodeToString(mac)
	return v, err
}

func (v Verdict) mac(secret []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "matron policy verdict v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key of verdicts: %w", err)
	}
	v.Seal = ""
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("seal verdict: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil), nil
}

// ReadVerdict reads a verdict that "matron policy replay --out" of this gateway has
// made. What was changed since is refused.
func ReadVerdict(in io.Reader, secret []byte) (Verdict, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxVerdict+1))
	if err != nil {
		return Verdict{}, fmt.Errorf("read verdict: %w", err)
	}
	if len(text) > maxVerdict {
		return Verdict{}, refused("the verdict is larger than %d bytes", maxVerdict)
	}
	var v Verdict
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := errors.Join(d.Decode(&v), ended(d)); err != nil || v.Format != verdictFormat {
		return Verdict{}, refused("this is no verdict that \"matron policy replay --out FILE\" has made")
	}
	mac, err := v.mac(secret)
	if err != nil {
		return Verdict{}, err
	}
	seal, err := hex.DecodeString(v.Seal)
	if err != nil || !hmac.Equal(mac, seal) {
		return Verdict{}, refused("the verdict was changed, or another gateway has made it: replay again here")
	}
	return v, nil
}

func ended(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// NeedsMark reports whether a clinical safety officer must mark the candidate: it
// would newly refuse what may be care, or nothing was replayed that could tell.
func (v Verdict) NeedsMark() bool { return v.CareDenied > 0 || v.Decisions == 0 }

// check refuses a verdict that says nothing about putting candidate in the place of
// base now.
func (v Verdict) check(candidate, base string, now time.Time) error {
	switch {
	case v.Candidate != candidate:
		return refused("the verdict is about the rules %s, not about %s: replay the candidate again", v.Candidate, candidate)
	case v.Base != base:
		return refused("the verdict compares with the rules %s, and %s are in force now: replay the candidate again", v.Base, base)
	case v.MadeAt.After(now.Add(ahead)):
		return refused("the verdict was made in the future of this clock")
	case now.Sub(v.MadeAt) > VerdictAge:
		return refused("the verdict is of %s, older than %s: replay the candidate again", v.MadeAt.Format("2 January 2006"), days(VerdictAge))
	case v.To.Sub(v.From) < VerdictSpan:
		return refused("the verdict is about %s, less than %s: replay a longer time", v.To.Sub(v.From).Round(time.Minute), days(VerdictSpan))
	case now.Sub(v.To) > VerdictAge:
		return refused("the verdict is about a time that ended at %s: replay up to now", v.To.Format("2 January 2006"))
	}
	return nil
}

func days(d time.Duration) string {
	if d == 24*time.Hour {
		return "a day"
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
