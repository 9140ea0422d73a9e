package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
)

// The zero value of everything refuses.
func TestZeroValuesRefuse(t *testing.T) {
	if (policy.Decision{}).Allowed() || (policy.Subject{}).Known() || policy.Effect(0) != policy.Deny {
		t.Error("a zero value allows")
	}
	for effect, want := range map[policy.Effect]string{policy.Deny: "deny", policy.Challenge: "challenge", policy.Allow: "allow", 3: "deny", 255: "deny"} {
		if got := effect.String(); got != want || (policy.Decision{Effect: effect}).Allowed() != (want == "allow") {
			t.Errorf("effect %d is %q, want %q", effect, got, want)
		}
	}
	for _, s := range []policy.Subject{{Sub: "u-1"}, {Issuer: "https://id.example"}} {
		if s.Known() {
			t.Errorf("%+v names somebody", s)
		}
	}
}

func TestRefuse(t *testing.T) {
	r := policy.Reason{Code: "no", Text: "No.", Remedy: "Ask."}
	want := policy.Decision{Effect: policy.Deny, Reasons: []policy.Reason{r}, Revision: "r1"}
	if diff := cmp.Diff(want, policy.Refuse("r1", r)); diff != "" {
		t.Error(diff)
	}
}

func TestSubjectInContext(t *testing.T) {
	if diff := cmp.Diff(policy.Subject{}, policy.SubjectFrom(t.Context())); diff != "" {
		t.Error(diff)
	}
	want := policy.Subject{Issuer: "i", Sub: "s", Roles: []string{"nurse"}}
	if diff := cmp.Diff(want, policy.SubjectFrom(policy.WithSubject(t.Context(), want))); diff != "" {
		t.Error(diff)
	}
}

func TestWrites(t *testing.T) {
	for action, want := range map[policy.Action]bool{
		policy.Create: true, policy.Update: true, policy.Delete: true,
		policy.Read: false, policy.Search: false, policy.List: false, policy.Print: false, policy.Export: false, "": false,
	} {
		if action.Writes() != want {
			t.Errorf("%q writes: %v", action, !want)
		}
	}
}
