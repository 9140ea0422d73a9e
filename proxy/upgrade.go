package proxy

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 says so; it protects nothing, it shows that the other side speaks WebSocket
	"encoding/base64"
	"net/http"
	"strings"
)

// upgrades reports whether a request asks for a WebSocket.
func upgrades(r *http.Request) bool { return len(r.Header["Upgrade"]) > 0 }

// acceptUpgrade lets the opening handshake of a WebSocket through, as RFC 6455
// section 4.2.1 has it, and nothing else: an upgrade to h2c, or one that the
// gateway and the application understand differently, would be a tunnel past every
// later decision (GW-08).
func acceptUpgrade(r *http.Request) error {
	if !upgrades(r) {
		return nil
	}
	if to := r.Header["Upgrade"]; len(to) != 1 || !strings.EqualFold(to[0], "websocket") {
		return errUpgrade
	}
	version, key := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	switch {
	case r.Method != http.MethodGet, r.ProtoMajor != 1, r.ProtoMinor < 1,
		r.ContentLength != 0, len(r.TransferEncoding) > 0,
		!listed(r.Header["Connection"], "upgrade"),
		len(version) != 1, version[0] != "13", len(key) != 1:
		return errHandshake
	}
	if nonce, err := base64.StdEncoding.DecodeString(key[0]); err != nil || len(nonce) != 16 {
		return errHandshake
	}
	return nil
}

// listed reports whether one of the comma-separated lists names token.
func listed(lists []string, token string) bool {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), token) {
				return true
			}
		}
	}
	return false
}

// ownOrigin reports whether the page that opens a WebSocket is the gateway's own.
// Browsers let every page open one anywhere, with the cookies of the place, and
// always say which page it is: one that does not say is refused (GW-06).
func (x *exchange) ownOrigin() bool {
	from := x.r.Header["Origin"]
	return len(from) == 1 && strings.EqualFold(from[0], x.scheme+"://"+x.r.Host)
}

// upgraded checks that the application has understood the handshake, and that
// there was one: any other answer 101 would turn the connection into a tunnel.
func (x *exchange) upgraded(res *http.Response) error {
	key := x.r.Header["Sec-Websocket-Key"]
	if !upgrades(x.r) || len(key) != 1 || res.Header.Get("Sec-Websocket-Accept") != acceptKey(key[0]) {
		return errBadResponse
	}
	return nil
}

// acceptKey is the answer to the key of a handshake (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}
