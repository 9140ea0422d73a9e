package signin

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Assurance levels: what a sign-in usually gives, and what a password alone and a
// smartcard give when the gateway asks for them.
const (
	assuranceLow   = 1
	assuranceUsual = 2
	assuranceHigh  = 3
)

// attempt is one sign-in under way. The store's mutex guards it; what the
// library gets is a copy.
type attempt struct {
	req      oidc.AuthRequest
	id       string
	sid      string
	code     string
	person   string // "" until somebody has chosen
	created  time.Time
	authTime time.Time
}

var _ op.AuthRequest = attempt{}

func newAttempt(req *oidc.AuthRequest, now time.Time) *attempt {
	return &attempt{req: *req, id: rand.Text(), sid: rand.Text(), created: now}
}

func (a attempt) assurance() int {
	for _, level := range []int{assuranceHigh, assuranceLow} {
		if slices.ContainsFunc(a.req.ACRValues, func(v string) bool { return strings.HasPrefix(v, fmt.Sprint("AAL", level)) }) {
			return level
		}
	}
	return assuranceUsual
}

// GetACR names the assurance level.
func (a attempt) GetACR() string { return fmt.Sprintf("AAL%d_ANY", a.assurance()) }

// GetID and the methods after it are op.AuthRequest.
func (a attempt) GetID() string { return a.id }

// GetAMR says that nothing was proved at all.
func (a attempt) GetAMR() []string { return []string{"demo"} }

// GetAudience is the client.
func (a attempt) GetAudience() []string { return []string{a.req.ClientID} }

// GetAuthTime is when somebody chose.
func (a attempt) GetAuthTime() time.Time { return a.authTime }

// GetClientID is the client.
func (a attempt) GetClientID() string { return a.req.ClientID }

// GetCodeChallenge is the PKCE challenge.
func (a attempt) GetCodeChallenge() *oidc.CodeChallenge {
	if a.req.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: a.req.CodeChallenge, Method: a.req.CodeChallengeMethod}
}

// GetNonce is the client's nonce.
func (a attempt) GetNonce() string { return a.req.Nonce }

// GetRedirectURI is where the code goes.
func (a attempt) GetRedirectURI() string { return a.req.RedirectURI }

// GetResponseType is code.
func (a attempt) GetResponseType() oidc.ResponseType { return a.req.ResponseType }

// GetResponseMode is as asked for.
func (a attempt) GetResponseMode() oidc.ResponseMode { return a.req.ResponseMode }

// GetScopes is as asked for.
func (a attempt) GetScopes() []string { return a.req.Scopes }

// GetState is the client's state.
func (a attempt) GetState() string { return a.req.State }

// GetSubject is who was chosen.
func (a attempt) GetSubject() string { return subject(a.person) }

// Done reports whether somebody has chosen.
func (a attempt) Done() bool { return a.person != "" }

// key is op.SigningKey and op.Key.
type key struct {
	k      *rsa.PrivateKey
	public bool
}

func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (k key) Use() string                                 { return "sig" }
func (k key) ID() string                                  { return "demo-1" }

func (k key) Key() any {
	if k.public {
		return &k.k.PublicKey
	}
	return k.k
}
