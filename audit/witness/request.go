package witness

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of the protocol.
const (
	maxProof  = 63        // lines, as the specification says
	maxBody   = 128 << 10 // more than 63 lines and 16 signatures of the largest kind
	maxAnswer = 64 << 10
	sizeType  = "text/x.tlog.size"
	endpoint  = "/add-checkpoint"
)

var errRequest = errors.New("request is malformed")

// request is the body of add-checkpoint.
type request struct {
	old   int64
	proof tlog.TreeProof
	note  []byte
}

func parseRequest(body []byte) (request, error) {
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return request{}, fmt.Errorf("%w: there is no empty line before a checkpoint", errRequest)
	}
	lines := strings.Split(string(head), "\n")
	number, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return request{}, fmt.Errorf("%w: line 1 is not \"old SIZE\"", errRequest)
	}
	r := request{note: signed}
	if r.old, ok = parseSize(number); !ok {
		return request{}, fmt.Errorf("%w: line 1 holds no tree size", errRequest)
	}
	if len(lines)-1 > maxProof {
		return request{}, fmt.Errorf("%w: more than %d proof lines", errRequest, maxProof)
	}
	for i, line := range lines[1:] {
		h, ok := parseHash(line)
		if !ok {
			return request{}, fmt.Errorf("%w: line %d is no hash", errRequest, i+2)
		}
		r.proof = append(r.proof, h)
	}
	return r, nil
}

// body is the inverse of parseRequest.
func (r request) body() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.old)
	for _, h := range r.proof {
		fmt.Fprintln(&b, h) // base64
	}
	b.WriteByte('\n')
	b.Write(r.note)
	return b.Bytes()
}

// origin is the first line of the note, not yet verified.
func (r request) origin() string {
	line, _, _ := bytes.Cut(r.note, []byte("\n"))
	return string(line)
}
