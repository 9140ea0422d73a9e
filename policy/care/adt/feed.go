package adt

import (
	"time"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/hl7"
)

// Keeper makes a message durable and applies it (store.Store).
type Keeper interface{ Accept(m care.Message) error }

// Feed hands the messages of a listener to a keeper (mllp.Handler). It is safe for
// concurrent use if the keeper is.
type Feed struct {
	Reader   *Reader
	Keeper   Keeper
	Register *care.Register // learns that a source is alive
	Now      func() time.Time
}

// Handle takes one message. nil says that it is on disk or means nothing here.
func (f *Feed) Handle(m *hl7.Message) error {
	changes, err := f.Reader.Read(m)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		f.Register.Heard(Source(m), f.Now())
		return nil
	}
	return f.Keeper.Accept(changes)
}
