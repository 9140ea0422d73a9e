package clickhouse

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/matron-epr/matron/audit"
)

// stored is one column of the table on its way in.
type stored struct {
	name string
	data proto.ColInput
	add  func(*audit.Record)
}

// wire lists the columns of the table, empty. Request and Decision are stored
// in another form (see migrations/0001_records.sql), and Nonce is not: it does
// not compress, tells nothing, and the journal has it.
func wire() []stored {
	list := append(wireExchange(), wireUser()...)
	return append(list, wireAnswer()...)
}

func wireExchange() []stored {
	ids := new(requestIDs)
	return []stored{
		wireWord("site", func(r *audit.Record) string { return r.Site }),
		wireWord("source", func(r *audit.Record) string { return r.Source }),
		wireNumber("seq", func(r *audit.Record) uint64 { return r.Seq }),
		wireTime("time", func(r *audit.Record) time.Time { return r.Time }),
		wireWord("kind", func(r *audit.Record) string { return string(r.Kind) }),
		wireRequestID(ids),
		wireRequestLag(ids),
		wireText("request_text", func(r *audit.Record) string { return ids.text(r.Request) }),
		wireNumber("gap", gapOf),
		wireWord("app", func(r *audit.Record) string { return r.App }),
		wireWord("method", func(r *audit.Record) string { return r.Method }),
		wireText("target", func(r *audit.Record) string { return r.Target }),
		wireText("query", func(r *audit.Record) string { return r.Query }),
		wireWord("route", func(r *audit.Record) string { return r.Route }),
		wireWord("action", func(r *audit.Record) string { return r.Action }),
		wireWord("area", func(r *audit.Record) string { return r.Area }),
		wireWord("screen", func(r *audit.Record) string { return r.Screen }),
		wireWord("resource", func(r *audit.Record) string { return r.Resource }),
		wireText("resource_id", func(r *audit.Record) string { return r.ResourceID }),
		wireText("resource_version", func(r *audit.Record) string { return r.ResourceVersion }),
		wireWord("deliberate", func(r *audit.Record) string { return r.Deliberate }),
		wireText("patient", func(r *audit.Record) string { return r.Patient }),
		wireText("nhs_number", func(r *audit.Record) string { return r.NHSNumber }),
		wireWord("patient_source", func(r *audit.Record) string { return string(r.PatientSource) }),
		wireWord("certainty", func(r *audit.Record) string { return string(r.Certainty) }),
	}
}

func wireUser() []stored {
	return []stored{
		wireWord("user_issuer", func(r *audit.Record) string { return r.UserIssuer }),
		wireWord("user_sub", func(r *audit.Record) string { return r.UserSub }),
		wireWord("person", func(r *audit.Record) string { return r.Person }),
		wireWord("user_name", func(r *audit.Record) string { return r.UserName }),
		wireWords("roles", func(r *audit.Record) []string { return r.Roles }),
		wireWords("activities", func(r *audit.Record) []string { return r.Activities }),
		wireWord("org", func(r *audit.Record) string { return r.Org }),
		wireWord("role_id", func(r *audit.Record) string { return r.RoleID }),
		wireWord("acr", func(r *audit.Record) string { return r.ACR }),
		wireWords("amr", func(r *audit.Record) []string { return r.AMR }),
		wireNumber("assurance", func(r *audit.Record) uint64 { return r.Assurance }),
		wireAuthTime(),
		wireText("session", func(r *audit.Record) string { return r.Session }),
		wireText("token", func(r *audit.Record) string { return r.Token }),
		wireWord("purpose", func(r *audit.Record) string { return r.Purpose }),
		wireWord("basis", func(r *audit.Record) string { return r.Basis }),
		wireWord("client_ip", func(r *audit.Record) string { return r.ClientIP }),
		wireWord("device", func(r *audit.Record) string { return r.Device }),
		wireWord("user_agent", func(r *audit.Record) string { return r.UserAgent }),
		wireWord("client_cn", func(r *audit.Record) string { return r.ClientCN }),
	}
}

func wireAnswer() []stored {
	return []stored{
		wireWord("effect", func(r *audit.Record) string { return r.Effect }),
		wireWords("reasons", func(r *audit.Record) []string { return r.Reasons }),
		wireWords("rules", func(r *audit.Record) []string { return r.Rules }),
		wireWord("policy_rev", func(r *audit.Record) string { return r.PolicyRev }),
		wireWord("mode", func(r *audit.Record) string { return r.Mode }),
		wireBool("would_deny", func(r *audit.Record) bool { return r.WouldDeny }),
		wireWord("outcome", func(r *audit.Record) string { return string(r.Outcome) }),
		wireNumber("status", func(r *audit.Record) uint64 { return r.Status }),
		wireNumber("bytes_in", func(r *audit.Record) uint64 { return r.BytesIn }),
		wireNumber("bytes_out", func(r *audit.Record) uint64 { return r.BytesOut }),
		wireNumber("duration", func(r *audit.Record) uint64 { return r.Duration }),
		wireNumber("overhead", func(r *audit.Record) uint64 { return r.Duration - r.Upstream }),
		wireNumber("results", func(r *audit.Record) uint64 { return r.Results }),
		wireWord("error", func(r *audit.Record) string { return r.Error }),
		wireWord("upstream_to", func(r *audit.Record) string { return r.UpstreamTo }),
		wireTexts("detail", func(r *audit.Record) []string { return r.Detail }),
	}
}

// wireWord is a column of few different values.
func wireWord(name string, of func(*audit.Record) string) stored {
	c := &dictionary{index: make(map[string]uint32)}
	return stored{name, c, func(r *audit.Record) { c.add(of(r)) }}
}

func wireText(name string, of func(*audit.Record) string) stored {
	c := new(proto.ColStr)
	return stored{name, c, func(r *audit.Record) { c.Append(of(r)) }}
}

func wireWords(name string, of func(*audit.Record) []string) stored {
	c := &lists{items: dictionary{index: make(map[string]uint32)}}
	return stored{name, c, func(r *audit.Record) { c.add(of(r)) }}
}

func wireTexts(name string, of func(*audit.Record) []string) stored {
	c := new(proto.ColStr).Array()
	return stored{name, c, func(r *audit.Record) { c.Append(of(r)) }}
}

func wireNumber(name string, of func(*audit.Record) uint64) stored {
	c := new(proto.ColUInt64)
	return stored{name, c, func(r *audit.Record) { c.Append(of(r)) }}
}

func wireBool(name string, of func(*audit.Record) bool) stored {
	c := new(proto.ColBool)
	return stored{name, c, func(r *audit.Record) { c.Append(of(r)) }}
}

func wireTime(name string, of func(*audit.Record) time.Time) stored {
	c := new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)
	return stored{name, c, func(r *audit.Record) { c.AppendRaw(proto.DateTime64(of(r).UnixMicro())) }}
}

func wireAuthTime() stored {
	c := new(proto.ColInt64)
	return stored{"auth_time", c, func(r *audit.Record) { c.Append(r.AuthTime.UnixMicro()) }}
}

func wireRequestID(ids *requestIDs) stored {
	c := &proto.ColFixedStr{Size: randomBytes}
	return stored{"request_id", c, func(r *audit.Record) {
		id, _ := ids.parse(r.Request)
		c.Buf = append(c.Buf, id[timeBytes:]...) // Append would move id to the heap
	}}
}

func wireRequestLag(ids *requestIDs) stored {
	c := new(proto.ColInt64)
	return stored{"request_lag", c, func(r *audit.Record) {
		var lag int64
		if id, ok := ids.parse(r.Request); ok {
			ms := binary.BigEndian.Uint64(append([]byte{0, 0}, id[:timeBytes]...))
			lag = r.Time.UnixMicro()/1000 - int64(ms) //nolint:gosec // 48 bits
		}
		c.Append(lag)
	}}
}

// requestIDs reads the id of an exchange once for three columns.
type requestIDs struct {
	last string
	id   [timeBytes + randomBytes]byte
	ok   bool
}

func (u *requestIDs) parse(request string) (id [timeBytes + randomBytes]byte, ok bool) {
	if request != u.last {
		u.last = request
		u.id, u.ok = parseUUID(request)
	}
	return u.id, u.ok
}

// text is what the columns request_id and request_lag cannot hold.
func (u *requestIDs) text(request string) string {
	if _, ok := u.parse(request); ok {
		return ""
	}
	return request
}

// A UUID of version 7 begins with the time in milliseconds.
const (
	timeBytes   = 6
	randomBytes = 10
)

// parseUUID reads a UUID in the only form in which the column request gives one
// back, and none whose part behind the time is zero, which stands for no UUID.
func parseUUID(text string) (id [timeBytes + randomBytes]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	at := 0
	for _, part := range []string{text[:8], text[9:13], text[14:18], text[19:23], text[24:]} {
		for i := range len(part) {
			if c := part[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return [timeBytes + randomBytes]byte{}, false
			}
		}
		n, _ := hex.Decode(id[at:], []byte(part)) // only digits are left
		at += n
	}
	if [randomBytes]byte(id[timeBytes:]) == [randomBytes]byte{} {
		return [timeBytes + randomBytes]byte{}, false
	}
	return id, true
}

// gapOf is how far a record stands behind its decision, a small number. It has
// one value for each decision, strange ones included: none is 0, and the
// record's own number, which would be 0 as well, takes the place of none.
func gapOf(r *audit.Record) uint64 {
	switch r.Decision {
	case 0:
		return 0
	case r.Seq:
		return r.Seq
	}
	return r.Seq - r.Decision
}

// encoder turns records into columns. It is used again and again, as its
// memory is that of a block.
type encoder struct {
	list  []stored
	input proto.Input
	body  proto.Buffer // of an insert over HTTP
	lent  bool         // an insert that failed may still be sending it
}

func newEncoder() *encoder {
	e := &encoder{list: wire()}
	for _, c := range e.list {
		e.input = append(e.input, proto.InputColumn{Name: c.name, Data: c.data})
	}
	return e
}

// add appends a row.
func (e *encoder) add(r *audit.Record) {
	for _, c := range e.list {
		c.add(r)
	}
}

func (e *encoder) rows() int { return e.input[0].Data.Rows() }
