package witness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Policy says whose signatures make a checkpoint worth believing: a log, its
// witnesses and the quorum (C2SP tlog-policy). The zero Policy believes nothing.
// It is not changed after it was made.
type Policy struct {
	Logs      []PolicyLog
	Witnesses []PolicyWitness

	groups map[string]group
	quorum string // name of a witness or group, or none
}

// PolicyLog is a log line; URL may be empty.
type PolicyLog struct {
	Key Verifier
	URL string
}

// PolicyWitness is a witness line; URL may be empty.
type PolicyWitness struct {
	Name string
	Key  Verifier
	URL  string
}

// group holds when at least need of its members hold.
type group struct {
	need    int
	members []string
}

const (
	quorumNone   = "none"
	maxPolicy    = 1 << 20
	policyMember = "witnesses" // the group that Quorum makes
)

// Quorum is the policy that need of the witnesses have cosigned. With need 0 the
// log's own signature is enough.
func Quorum(logs []Verifier, witnesses []Verifier, need int) (Policy, error) {
	var b strings.Builder
	for _, k := range logs {
		fmt.Fprintf(&b, "log %s\n", k)
	}
	members := ""
	for i, k := range witnesses {
		fmt.Fprintf(&b, "witness w%d %s\n", i+1, k)
		members += fmt.Sprintf(" w%d", i+1)
	}
	if need == 0 {
		b.WriteString("quorum none\n")
	} else {
		fmt.Fprintf(&b, "group %s %d%s\nquorum %s\n", policyMember, need, members, policyMember)
	}
	return ParsePolicy("quorum", []byte(b.String()))
}

// ReadPolicy reads a policy file.
func ReadPolicy(path string) (Policy, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Policy{}, fmt.Errorf("read witness policy: %w", err)
	}
	if info.Size() > maxPolicy {
		return Policy{}, fmt.Errorf("file %s %w: it is larger than %d bytes", path, ErrPolicy, maxPolicy)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Policy{}, fmt.Errorf("read witness policy: %w", err)
	}
	return ParsePolicy(path, b)
}

// ParsePolicy reads the text of a policy; errors name file and line.
func ParsePolicy(file string, src []byte) (Policy, error) {
	p := parser{policy: Policy{groups: map[string]group{}}, names: map[string]bool{quorumNone: true}, used: map[string]bool{}, keys: map[string]bool{}}
	for i, text := range strings.Split(string(src), "\n") {
		if err := p.line(text); err != nil {
			return Policy{}, fmt.Errorf("%s:%d: %w: %w", file, i+1, ErrPolicy, err)
		}
	}
	if p.policy.quorum == "" {
		return Policy{}, fmt.Errorf("%s: %w: the quorum line is missing: write \"quorum NAME\", or \"quorum none\"", file, ErrPolicy)
	}
	return p.policy, nil
}

// parser keeps what a policy file has named so far.
type parser struct {
	policy Policy
	names  map[string]bool // witnesses, groups and none
	used   map[string]bool // members of a group
	keys   map[string]bool // public keys, of a log or of a witness
}

func (p *parser) line(text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("a control character")
	}
	// Only space and tab are white space here.
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return nil
	}
	switch word, rest := fields[0], fields[1:]; word {
	case "log":
		return p.log(rest)
	case "witness":
		return p.witness(rest)
	case "group":
		return p.group(rest)
	case "quorum":
		return p.quorum(rest)
	default:
		return fmt.Errorf("%q: a line begins with log, witness, group, quorum or #", word)
	}
}

func (p *parser) log(f []string) error {
	if len(f) < 1 || len(f) > 2 {
		return errors.New("write \"log KEY [URL]\"")
	}
	key, err := p.key(f[0], LogKey)
	if err != nil {
		return err
	}
	p.policy.Logs = append(p.policy.Logs, PolicyLog{Key: key, URL: strings.Join(f[1:], "")})
	return nil
}

func (p *parser) witness(f []string) error {
	if len(f) < 2 || len(f) > 3 {
		return errors.New("write \"witness NAME KEY [URL]\"")
	}
	key, err := p.key(f[1], WitnessKey)
	if err != nil {
		return err
	}
	p.policy.Witnesses = append(p.policy.Witnesses, PolicyWitness{Name: f[0], Key: key, URL: strings.Join(f[2:], "")})
	return p.name(f[0])
}

// key reads a key that no other line of its kind has, under whatever name.
func (p *parser) key(text string, kind Kind) (Verifier, error) {
	key, err := NewVerifier(text, kind)
	if err != nil {
		return Verifier{}, err
	}
	id := string(append([]byte{byte(kind)}, key.key...))
	if p.keys[id] {
		return Verifier{}, fmt.Errorf("the key of %s is in the file already", key.name)
	}
	p.keys[id] = true
	return key, nil
}

func (p *parser) name(name string) error {
	if p.names[name] {
		return fmt.Errorf("the name %q is taken", name)
	}
	p.names[name] = true
	return nil
}

func (p *parser) group(f []string) error {
	if len(f) < 3 {
		return errors.New("write \"group NAME all|any|NUMBER MEMBER...\"")
	}
	g := group{members: f[2:]}
	switch f[1] {
	case "all":
		g.need = len(g.members)
	case "any":
		g.need = 1
	default:
		n, err := strconv.Atoi(f[1])
		if err != nil || n < 1 || n > len(g.members) || strconv.Itoa(n) != f[1] {
			return fmt.Errorf("%q must be all, any or a number from 1 to %d, the number of members", f[1], len(g.members))
		}
		g.need = n
	}
	for _, m := range g.members {
		if m == quorumNone || !p.names[m] {
			return fmt.Errorf("the member %q is no witness or group of a line before", m)
		}
		if p.used[m] {
			return fmt.Errorf("the member %q is in a group already: a witness counts once", m)
		}
		p.used[m] = true
	}
	p.policy.groups[f[0]] = g
	return p.name(f[0])
}

func (p *parser) quorum(f []string) error {
	switch {
	case len(f) != 1:
		return errors.New("write \"quorum NAME\"")
	case p.policy.quorum != "":
		return errors.New("there is a quorum line already")
	case !p.names[f[0]]:
		return fmt.Errorf("%q is no witness or group of a line before", f[0])
	}
	p.policy.quorum = f[0]
	return nil
}

// Met reports whether the witnesses whose key ids are in by make the quorum.
func (p Policy) Met(by []note.Signature) bool {
	names := map[string]bool{}
	for _, w := range p.Witnesses {
		for _, s := range by {
			if s.Name == w.Key.name && s.Hash == w.Key.hash {
				names[w.Name] = true
			}
		}
	}
	return p.quorum == quorumNone || p.quorum != "" && p.holds(p.quorum, names)
}

// holds follows groups; they never contain themselves, since a group names only
// what stands before it.
func (p Policy) holds(name string, names map[string]bool) bool {
	g, ok := p.groups[name]
	if !ok {
		return names[name]
	}
	n := 0
	for _, m := range g.members {
		if p.holds(m, names) {
			n++
		}
	}
	return n >= g.need
}

// ErrQuorum means that a checkpoint is the log's, and too few witnesses have
// cosigned it.
var ErrQuorum = errors.New("too few witnesses have cosigned")

// Verify opens a checkpoint that one of the policy's logs has signed and its
// quorum has cosigned; with ErrQuorum the checkpoint and the signatures there
// are come back as well. Signatures of others are left out.
func (p Policy) Verify(signed []byte) (Checkpoint, []note.Signature, error) {
	var keys []Verifier
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	n, err := note.Open(signed, note.VerifierList(verifiers(keys)...))
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("verify checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("verify checkpoint: %w", err)
	}
	ofLog := false
	for _, l := range p.Logs {
		for _, s := range n.Sigs {
			ofLog = ofLog || s.Name == l.Key.name && s.Hash == l.Key.hash && c.Origin == l.Key.name
		}
	}
	if !ofLog {
		return Checkpoint{}, nil, fmt.Errorf("verify checkpoint: no log of the policy has signed it for its origin %q", c.Origin)
	}
	if !p.Met(n.Sigs) {
		return c, n.Sigs, fmt.Errorf("verify checkpoint of size %d: %w", c.Size, ErrQuorum)
	}
	return c, n.Sigs, nil
}
