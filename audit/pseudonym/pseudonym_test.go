package pseudonym

import (
	"bytes"
	"errors"
	"testing"
)

func TestHashes(t *testing.T) {
	h, err := New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if !h.Family("Ní Dhómhnaill").Same(h.Family("NI DHOMHNAILL")) || !h.Family("Smith-Jones").Same(h.Family("smith jones")) {
		t.Error("accents, case or punctuation make a difference")
	}
	if h.Family("ash").Same(other.Family("ash")) {
		t.Error("the key makes no difference")
	}
	if h.Family("ash").Same(h.Unit("ash")) {
		t.Error("a surname equals a postcode")
	}
	if h.Family("").Same(h.Family(" ")) || Hash("").Same("") {
		t.Error("what is not known equals what is not known")
	}
	if h.Address("1 High Street", "") != "" {
		t.Error("an address without a postcode")
	}
	if _, err := New(make([]byte, 31)); !errors.Is(err, ErrKey) {
		t.Errorf("short key: %v", err)
	}
}
