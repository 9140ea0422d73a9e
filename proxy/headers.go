package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// folded is a header name in the form in which servers compare them: lower
// case, and '_' read as '-', as CGI, WSGI and PHP do.
type folded [48]byte

// fold writes name into f and returns it. A name that is longer is cut: no
// header that matters is.
func (f *folded) fold(name string) []byte {
	n := min(len(name), len(f))
	for i := range n {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_':
			c = '-'
		}
		f[i] = c
	}
	return f[:n]
}

// claimsIdentity reports whether a header says who is asking. Only the gateway
// may say that (hazard GW-07): such a request is refused on every route.
func claimsIdentity(name string) bool {
	var f folded
	n := f.fold(name)
	switch string(n) {
	case "remote-user", "remote-name", "remote-email", "remote-groups", "remote-addr",
		"x-user", "x-userid", "x-user-id", "x-username", "x-user-name", "x-user-email", "x-email", "x-groups", "x-roles",
		"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-roles",
		"x-forwarded-preferred-username", "x-forwarded-access-token", "x-forwarded-id-token",
		"x-forwarded-client-cert", "x-forwarded-tls-client-cert", "x-forwarded-tls-client-cert-info",
		"x-proxy-user", "x-iap-user", "x-jwt-assertion", "x-userinfo",
		"iv-user", "iv-groups", "sm-user", "sm-userdn", "x-sm-user", "auth-user", "http-remote-user":
		return true
	}
	return hasAnyPrefix(n, "matron-", "x-matron-", "x-remote-", "x-auth-request-", "x-authenticated-",
		"x-webauth-", "x-auth-user", "x-pomerium-", "x-goog-authenticated-", "x-goog-iap-", "x-ms-client-principal",
		"x-ms-token-", "x-amzn-oidc-", "cf-access-", "x-vouch-", "x-authentik-", "x-authelia-", "tailscale-user-",
		"x-credential-", "x-consumer-", "oidc-", "x-oidc-", "mellon-", "shib-", "ssl-client-", "x-ssl-client-",
		"x-client-cert", "x-client-dn", "x-client-verify")
}

// overridesRequest reports whether a header asks that the request be read as
// another one than the request line says.
func overridesRequest(name string) bool {
	var f folded
	switch string(f.fold(name)) {
	case "x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-forwarded-method",
		"x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-path", "x-override-url":
		return true
	}
	return false
}

// hasAnyPrefix reports whether name begins with one of prefixes.
func hasAnyPrefix(name []byte, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(name) >= len(p) && string(name[:len(p)]) == p {
			return true
		}
	}
	return false
}

// claimsOrigin reports whether a header says where a request comes from. Such a
// header is taken off on every route; the gateway sets the true ones anew.
func claimsOrigin(name string) bool {
	var f folded
	n := f.fold(name)
	switch string(n) {
	case "forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "client-ip", "cf-connecting-ip", "fastly-client-ip",
		"x-cluster-client-ip", "x-original-for", "x-original-host", "x-original-proto", "x-host", "x-url-scheme",
		"x-scheme", "front-end-https", "via", "proxy-ip":
		return true
	}
	return hasAnyPrefix(n, "x-forwarded-")
}

// stripOrigin takes off what the client says about where it is.
func stripOrigin(h http.Header) {
	for name := range h {
		if claimsOrigin(name) {
			delete(h, name)
		}
	}
}

// origin says where a request comes from: the address of the client and whether
// it reached the first trusted machine over TLS. X-Forwarded headers are
// believed only as far as trusted proxies wrote them: from the right, stopping
// at the first address that is not trusted.
func origin(r *http.Request, trusted []netip.Prefix) (ip, scheme string) {
	scheme = "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if len(trusted) == 0 || !within(host, trusted) {
		return host, scheme
	}
	if proto := r.Header.Get("X-Forwarded-Proto"); proto == "https" || proto == "http" {
		scheme = proto
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		host = hop
		if !within(hop, trusted) {
			break
		}
	}
	return host, scheme
}

// within reports whether an address lies in one of the networks.
func within(host string, networks []netip.Prefix) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, n := range networks {
		if n.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
