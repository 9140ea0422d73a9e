package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"sort"
	"strings"
)

// The cookies. The __Host- prefix makes browsers insist on Secure, on Path=/
// and on no Domain, so that no other host can plant one. None of them may be
// forwarded to an application.
const (
	sessionCookie = "__Host-matron"
	attemptCookie = "__Host-matron-try-"
)

// secret returns 256 random bits as text that fits a cookie and a URL.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashed is all of a secret that is ever stored.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// wellFormed reports whether s can be one of our secrets.
func wellFormed(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 32
}

// presented returns the session id that the request carries. Two of them are
// as good as none: nobody can say which one is meant (GW-07).
func presented(r *http.Request) (string, bool) {
	found := r.CookiesNamed(sessionCookie)
	if len(found) != 1 || !wellFormed(found[0].Value) {
		return "", false
	}
	return found[0].Value, true
}

func setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func dropCookie(w http.ResponseWriter, name string) { setCookie(w, name, "", -1) }

// dropOldAttempts keeps the newest few attempt cookies of a browser, so that
// its requests do not grow without bound. Names sort by age.
func dropOldAttempts(w http.ResponseWriter, r *http.Request, keep int) {
	var names []string
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, attemptCookie) {
			names = append(names, c.Name)
		}
	}
	sort.Strings(names)
	for i := 0; i < len(names)-keep; i++ {
		dropCookie(w, names[i])
	}
}
