package signin_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/signin"
)

// clockedVoucher is a Voucher whose clock the test moves.
func clockedVoucher(t testing.TB) (*signin.Voucher, *time.Time) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	v, err := signin.NewVoucher(signin.VoucherConfig{
		Key: newKey(t), Issuer: "https://epr.example", Audience: "fhir", Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, &now
}

func vouchReads(t testing.TB, v *signin.Voucher, who policy.Subject, method string) string {
	t.Helper()
	token, err := v.VouchReads(who, method)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func claimsOf(t testing.TB, v *signin.Voucher, token string) map[string]any {
	t.Helper()
	var claims map[string]any
	if err := json.Unmarshal(verified(t, v, token), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// A voucher for reads says who is asking and by which method. It names no request,
// and so claims neither to be unique (jti) nor to be bound to one (hth).
func TestVoucherForReads(t *testing.T) {
	v, _ := clockedVoucher(t)
	want := map[string]any{
		"iss": "https://epr.example", "aud": "fhir", "sub": "s1", "htm": "GET", "iat": 1.8e9, "nbf": 1.8e9, "exp": 1.8e9 + 60,
		"name": "Ada Nurse", "person": "p1", "origin_iss": "https://sso.example", "roles": []any{"nurse"}, "org": "RBA", "assurance": 3.0,
	}
	if diff := cmp.Diff(want, claimsOf(t, v, vouchReads(t, v, nurse(), http.MethodGet))); diff != "" {
		t.Error(diff)
	}
}

// It is given again for a quarter of its life and no longer, whichever way the clock
// goes, so that it is good for most of a minute when the application gets it.
func TestVoucherForReadsIsGivenAgainForAWhile(t *testing.T) {
	v, now := clockedVoucher(t)
	began := *now
	first := vouchReads(t, v, nurse(), http.MethodGet)
	for _, row := range []struct {
		name  string
		at    time.Duration
		again bool
	}{
		{"at once", 0, true},
		{"in the last moment", 15*time.Second - 1, true},
		{"too late", 15 * time.Second, false},
	} {
		*now = began.Add(row.at)
		if got := vouchReads(t, v, nurse(), http.MethodGet); (got == first) != row.again {
			t.Errorf("%s: the same token: %t, want %t", row.name, got == first, row.again)
		}
	}
	later := vouchReads(t, v, nurse(), http.MethodGet)
	*now = now.Add(-time.Second)
	if vouchReads(t, v, nurse(), http.MethodGet) == later {
		t.Error("with the clock put back, a token that is not good yet")
	}
}

// One that came late into a time of 15 seconds is not given again before the clock
// has come to when it was made.
func TestVoucherForReadsIsNotGivenBeforeItsTime(t *testing.T) {
	v, now := clockedVoucher(t)
	vouchReads(t, v, nurse(), http.MethodHead)
	*now = now.Add(10 * time.Second)
	made := vouchReads(t, v, nurse(), http.MethodGet)
	*now = now.Add(-5 * time.Second)
	if vouchReads(t, v, nurse(), http.MethodGet) == made {
		t.Error("a token that is not good yet")
	}
}

// Whatever a subject says otherwise, it gets a token that says so, at once: another
// session, other roles, a step-up. Every field of a subject is tried.
func TestVoucherForReadsFollowsItsSubject(t *testing.T) {
	kind := reflect.TypeFor[policy.Subject]()
	for i := range kind.NumField() {
		v, _ := clockedVoucher(t)
		who := nurse()
		vouchReads(t, v, who, http.MethodGet)
		change(t, reflect.ValueOf(&who).Elem().Field(i))
		got := claimsOf(t, v, vouchReads(t, v, who, http.MethodGet))
		fresh, err := signin.NewVoucher(signin.VoucherConfig{
			Key: newKey(t), Issuer: "https://epr.example", Audience: "fhir", Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(claimsOf(t, fresh, vouchReads(t, fresh, who, http.MethodGet)), got); diff != "" {
			t.Errorf("%s changed: %s", kind.Field(i).Name, diff)
		}
	}
}

// change gives a field of a subject another value.
func change(t *testing.T, f reflect.Value) {
	t.Helper()
	switch f.Interface().(type) {
	case string:
		f.SetString("another")
	case []string:
		f.Set(reflect.ValueOf([]string{"another"}))
	case int:
		f.SetInt(f.Int() + 1)
	case bool:
		f.SetBool(!f.Bool())
	case time.Time:
		f.Set(reflect.ValueOf(time.Unix(1_800_000_000, 0)))
	default:
		t.Fatalf("a subject has a field of type %s", f.Type())
	}
}

func TestVoucherForReadsIsForOneApplicationAndMethod(t *testing.T) {
	v, _ := clockedVoucher(t)
	vouchReads(t, v, nurse(), http.MethodGet)
	if aud := claimsOf(t, v, vouchReads(t, v.For("pacs"), nurse(), http.MethodGet))["aud"]; aud != "pacs" {
		t.Errorf("made for %v", aud)
	}
	if htm := claimsOf(t, v, vouchReads(t, v, nurse(), http.MethodHead))["htm"]; htm != "HEAD" {
		t.Errorf("made for %v", htm)
	}
}

func TestVoucherForReadsIsRefused(t *testing.T) {
	v, _ := clockedVoucher(t)
	for name, try := range map[string]func() (string, error){
		"nobody":         func() (string, error) { return v.VouchReads(policy.Subject{}, http.MethodGet) },
		"no issuer":      func() (string, error) { return v.VouchReads(policy.Subject{Sub: "s"}, http.MethodGet) },
		"no application": func() (string, error) { return v.For("").VouchReads(nurse(), http.MethodGet) },
		"a write":        func() (string, error) { return v.VouchReads(nurse(), http.MethodPost) },
	} {
		if token, err := try(); err == nil || token != "" {
			t.Errorf("%s: %q", name, token)
		}
	}
}

func BenchmarkVouchReads(b *testing.B) {
	v := newVoucher(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.VouchReads(nurse(), http.MethodGet); err != nil {
			b.Fatal(err)
		}
	}
}
