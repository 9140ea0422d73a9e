package intake

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit/pseudonym"
)

// Mistake says in words what is wrong with a line of JSON, without its values.
func Mistake(line []byte, err error) error {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case !utf8.Valid(line):
		return errors.New("not valid UTF-8")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("the same field twice")
	case errors.As(err, &syntax):
		return fmt.Errorf("not one JSON object: mistake at byte %d of the line", syntax.ByteOffset)
	case errors.As(err, &meaning) && meaning.JSONPointer != "":
		field, _, _ := strings.Cut(string(meaning.JSONPointer)[1:], "/")
		if meaning.JSONKind == '0' && meaning.GoType != nil && meaning.GoType.Kind() == reflect.Uint64 {
			return fmt.Errorf("%s: not a whole number from 0", field)
		}
		return fmt.Errorf("%s: %s where another kind of value is wanted", field, kindName(meaning.JSONKind))
	}
	return errors.New("not one JSON object")
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindString:
		return "a text"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "true or false"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	default:
		return "nothing"
	}
}

// Clean goes through fields that the format does not have. They are kept, but
// whoever wrote them may not have thought of what must not be: below a name
// that speaks of a person's name, address or number, and where a value is an
// NHS number, only a keyed hash stays.
func Clean(extra jsontext.Value, h pseudonym.Hasher) (kept jsontext.Value, names []string, err error) {
	var out bytes.Buffer
	dec := jsontext.NewDecoder(bytes.NewReader(extra))
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true))
	hiding := 0 // depth of the outermost value that is hidden; 0: none is
	for {
		token, err := dec.ReadToken()
		if err != nil {
			break // its end: the decoder has seen the whole of it before
		}
		depth := dec.StackDepth()
		kind, _ := dec.StackIndex(depth)
		_, position := dec.StackIndex(depth)
		isName := kind == '{' && position%2 == 1 && token.Kind() == '"'
		switch {
		case isName:
			if hiding == 0 && personal(token.String()) {
				hiding = depth
			}
			if depth == 1 {
				names = append(names, token.String())
			}
		case token.Kind() == '"' || token.Kind() == '0':
			token = hide(token, h, hiding > 0)
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, nil, errors.New("fields that are not known cannot be kept")
		}
		if !isName && hiding > 0 && depth == hiding {
			hiding = 0
		}
	}
	return bytes.TrimSpace(out.Bytes()), names, nil
}

// hide replaces a value that must not be kept in clear.
func hide(token jsontext.Token, h pseudonym.Hasher, all bool) jsontext.Token {
	value := token.String()
	switch {
	case isNHSNumber(value):
		return jsontext.String("hash:" + string(h.NHS(value)))
	case all:
		return jsontext.String("hash:" + string(h.Of("extra", value)))
	}
	return token
}

// isNHSNumber reports whether a text is what an NHS number looks like.
func isNHSNumber(value string) bool {
	return len(value) >= 10 && len(value) <= 16 && NHSNumber("", value) == nil
}

// personal reports whether the name of a field speaks of what names a person.
func personal(name string) bool {
	normal := pseudonym.Normal(name)
	for _, word := range []string{
		"name", "given", "family", "address", "postcode", "zipcode", "phone", "mobile", "email", "nhs", "birth", "dob", "nextofkin",
	} {
		if strings.Contains(normal, word) {
			return true
		}
	}
	return normal == "tel" || normal == "fax"
}
