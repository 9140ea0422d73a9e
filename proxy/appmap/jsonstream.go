package appmap

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/matron-epr/matron/proxy"
)

// What is in memory of a text that is not.
const (
	jsonWindow    = 256 << 10
	maxJSONWindow = 8 << 20 // the longest value that is read whole
)

// errTooLong is wrapped when a response, or one part of it, would have to be in
// memory to be read and is too long for that. Whose it is nobody can tell then.
var errTooLong = errors.New("too long to be read")

// jsonStream reads one JSON text piece by piece, as strictly as parseJSON: what has
// been read is let go, so that a text of any length can be read. A value that is
// asked for whole is in the window, which grows with it. A text in memory is a
// single window.
type jsonStream struct {
	jsonParser           // of the window
	in         io.Reader // what follows the window, nil when nothing does
	step       int       // bytes that the window grows by at least
	tail       string    // of the last read, the first bytes of a character
	base       int64     // where in the text the window begins
	last       string    // the text of the value that was read whole last
	begun      int64     // where the name of the member stands that was begun last
}

func openJSON(body proxy.Body) (*jsonStream, error) {
	if b, ok := body.Bytes(); ok {
		if !utf8.Valid(b) {
			return nil, notUTF8()
		}
		return &jsonStream{jsonParser: jsonParser{src: string(b)}}, nil
	}
	return &jsonStream{in: body.Open(), step: jsonWindow}, nil
}

func notUTF8() error { return fmt.Errorf("not UTF-8: %w", errJSON) }

// at is where in the text the next byte stands.
func (s *jsonStream) at() int64 { return s.base + int64(s.pos) }

// fill lets go of what has been read of the window and reads on, at least as much
// as is left of it.
func (s *jsonStream) fill() error {
	left := s.src[s.pos:]
	if len(left) >= maxJSONWindow {
		return fmt.Errorf("a value of more than %d bytes: %w", maxJSONWindow, errTooLong)
	}
	var b strings.Builder
	b.Grow(2*len(left) + s.step + len(s.tail))
	b.WriteString(left)
	b.WriteString(s.tail)
	_, err := io.CopyN(&b, s.in, int64(min(len(left), maxJSONWindow-len(left))+s.step))
	switch {
	case errors.Is(err, io.EOF):
		s.in = nil
	case err != nil:
		return fmt.Errorf("read on: %w", err)
	}
	window, cut := b.String(), 0
	if s.in != nil {
		cut = halfRune(window)
	}
	s.base += int64(s.pos)
	s.src, s.pos, s.tail = window[:len(window)-cut], 0, window[len(window)-cut:]
	if !utf8.ValidString(s.src[len(left):]) {
		return notUTF8()
	}
	return nil
}

// halfRune is how many bytes at the end of text begin a character that does not
// end there.
func halfRune(text string) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if end := text[len(text)-n:]; utf8.RuneStart(end[0]) {
			if utf8.FullRuneInString(end) {
				return 0
			}
			return n
		}
	}
	return 0
}

// longestEscape is how far a parser may look ahead of where it fails.
const longestEscape = len(`\ud83d\ude00`)

// here reads a value if all of it is in the window; otherwise nothing is read and
// done is false.
func (s *jsonStream) here(read func() error) (done bool, err error) {
	from := s.pos
	s.nodes = 0
	err = read()
	left := len(s.src) - s.pos
	if s.in == nil || err == nil && left > 0 || left >= longestEscape {
		s.last = s.src[from:s.pos]
		return true, err
	}
	s.pos, s.members, s.values = from, s.members[:0], s.values[:0]
	return false, nil
}

// inWindow makes the window grow until read has all it wants in it.
func (s *jsonStream) inWindow(read func() error) error {
	for {
		if done, err := s.here(read); done {
			return err
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// whole reads a value whole.
func (s *jsonStream) whole(depth int) (v any, err error) {
	if _, err := s.ahead(); err != nil {
		return nil, err
	}
	err = s.inWindow(func() (err error) {
		v, err = s.value(depth)
		return err
	})
	return v, err
}

// ahead skips space and returns the byte that follows, 0 at the end of the text.
func (s *jsonStream) ahead() (byte, error) {
	for {
		if s.space(); s.pos < len(s.src) {
			return s.src[s.pos], nil
		}
		if s.in == nil {
			return 0, nil
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// each goes through the members of an object or the elements of an array. do reads
// the value, whose name or number it is given.
func (s *jsonStream) each(depth int, do func(name string, i int) error) error {
	begin, err := s.ahead()
	if err != nil {
		return err
	}
	end := byte('}')
	if begin == '[' {
		end = ']'
	}
	if begin != '{' && begin != '[' || depth > maxJSONDepth {
		return s.failed()
	}
	s.pos++
	seen := memberNames{}
	for i := 0; ; i++ {
		c, err := s.ahead()
		if err != nil {
			return err
		}
		if c == end && i == 0 {
			s.pos++
			return nil
		}
		name := ""
		s.begun = s.at()
		if begin == '{' {
			if name, err = s.memberName(&seen); err != nil {
				return err
			}
		}
		if err := do(name, i); err != nil {
			return err
		}
		switch c, err = s.ahead(); {
		case err != nil:
			return err
		case c == ',':
			s.pos++
		case c == end:
			s.pos++
			return seen.unambiguous()
		default:
			return s.failed()
		}
	}
}

// memberNames are those of the members of one object that is read piece by piece.
type memberNames struct {
	object
	size int
}

// memberName reads the name of a member and the colon behind it.
func (s *jsonStream) memberName(seen *memberNames) (name string, err error) {
	err = s.inWindow(func() (err error) {
		name, err = s.name()
		return err
	})
	if err != nil {
		return "", err
	}
	if s.in != nil {
		name = strings.Clone(name) // and not the window that it is part of
	}
	if seen.size += len(name) + 32; seen.size > maxJSONWindow {
		return "", fmt.Errorf("an object of too many members: %w", errTooLong)
	}
	seen.members = append(seen.members, member{key: name})
	c, err := s.ahead()
	if err == nil && c != ':' {
		err = s.failed()
	}
	s.pos++
	if err == nil {
		_, err = s.ahead()
	}
	return name, err
}

// skip reads past a value.
func (s *jsonStream) skip(depth int) error {
	return s.pick(nil, depth, nil)
}

// end fails unless the text ends here.
func (s *jsonStream) end() error {
	c, err := s.ahead()
	if err == nil && c != 0 || s.pos < len(s.src) {
		err = fmt.Errorf("something follows the text: %w", errJSON)
	}
	return err
}

// lead is what is left of a pointer on the way to what it points to.
type lead struct {
	which int
	rest  pointer
}

// pick calls do with every value that one of the leads points to.
func (s *jsonStream) pick(leads []lead, depth int, do func(which int, v any) error) error {
	begin, err := s.ahead()
	if err != nil {
		return err
	}
	var v any
	read := func() (err error) {
		v, err = s.value(depth)
		return err
	}
	done, err := s.here(read)
	if !done {
		if begin == '{' || begin == '[' {
			if !arrived(leads) {
				return s.each(depth, func(name string, i int) error {
					return s.pick(onward(leads, begin == '[', name, i), depth+1, do)
				})
			}
		}
		err = s.inWindow(read)
	}
	if err != nil {
		return err
	}
	for _, l := range leads {
		for _, n := range l.rest.nodes(nil, v) {
			if err := do(l.which, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrived reports whether one of the leads points to the value that is next.
func arrived(leads []lead) bool {
	for _, l := range leads {
		if len(l.rest) == 0 {
			return true
		}
	}
	return false
}

// onward are the leads that go on into one member or element.
func onward(leads []lead, list bool, name string, i int) []lead {
	var on []lead
	for _, l := range leads {
		if l.rest[0] == anyDepth {
			on = append(on, l)
			l.rest = l.rest[1:]
		}
		if l.rest.leadsTo(list, name, i) {
			on = append(on, lead{l.which, l.rest[1:]})
		}
	}
	return on
}

// elements calls do with each element of the arrays that a pointer leads to, and
// reports whether there was any array.
func (s *jsonStream) elements(to pointer, depth int, do func(node any) error) (listed bool, err error) {
	begin, err := s.ahead()
	if err != nil {
		return false, err
	}
	switch {
	case len(to) == 0 && begin == '[':
		return true, s.each(depth, func(string, int) error {
			v, err := s.whole(depth + 1)
			if err != nil {
				return err
			}
			return do(v)
		})
	case len(to) == 0 || begin != '{' && begin != '[':
		return false, s.skip(depth)
	}
	err = s.each(depth, func(name string, i int) error {
		if !to.leadsTo(begin == '[', name, i) {
			return s.skip(depth + 1)
		}
		found, err := s.elements(to[1:], depth+1, do)
		listed = listed || found
		return err
	})
	return listed, err
}
