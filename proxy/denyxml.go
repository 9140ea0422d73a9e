package proxy

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// denyForm is the form of this exchange's refusal. Where it was not classified,
// the application's map may know by the address.
func (x *exchange) denyForm() DenyForm {
	if x.access.Deny != DenyAuto {
		return x.access.Deny
	}
	r := x.route
	if r == nil { // refused before anybody looked for the application
		if r = x.g.find(x.r.URL.Path); r == nil {
			return DenyAuto
		}
	}
	f, ok := r.Map.(Follower)
	if !ok {
		return DenyAuto
	}
	path := x.r.URL.Path
	if r.StripPrefix && x.route == nil {
		path = r.strip(path)
	}
	return f.DenyForm(path)
}

// messages is a refusal as a message of openMAXIMS: its client shows the text in
// a box and leaves the user where they are (CNHost of release 10.5, elements
// messages and message). On any other status or body it would fail.
func (x *exchange) messages(e explanation) ([]byte, error) {
	text, err := xmlText(x.refusalText(e))
	if err != nil {
		return nil, err
	}
	return []byte(xml.Header[:len(xml.Header)-1] + `<xml pt="0"><messages><message>` + text + `</message></messages></xml>`), nil
}

// soapFault is a refusal as a fault of SOAP 1.1 (section 4.4).
func (x *exchange) soapFault(e explanation) ([]byte, error) {
	text, err := xmlText(x.refusalText(e))
	if err != nil {
		return nil, err
	}
	code := "Client"
	if e.status >= 500 {
		code = "Server"
	}
	return []byte(xml.Header[:len(xml.Header)-1] +
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault><faultcode>soapenv:` +
		code + `</faultcode><faultstring>` + text + `</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>`), nil
}

// refusalText says in plain text why, what would make it right, and under which
// reference it is recorded.
func (x *exchange) refusalText(e explanation) string {
	var b strings.Builder
	b.WriteString(e.title + ". ")
	for _, r := range x.reasons(e) {
		b.WriteString(r.Text + " " + r.Remedy + " ")
	}
	if x.fateUnknown() {
		b.WriteString("It is not known whether the change was made. ")
	}
	if e.is(errStepUp) {
		b.WriteString("To sign in again, open " + x.absolute(x.signInFor(e)) + " in a browser. ")
	}
	if x.offered != "" {
		b.WriteString(x.inAnEmergency() + " ")
	}
	b.WriteString("(Reference " + x.id + ")")
	return b.String()
}

// inAnEmergency says where to confirm an emergency: a message has no links, the
// address is for the browser.
func (x *exchange) inAnEmergency() string {
	return "If the patient cannot wait, open " + x.absolute(x.offered) + " in a browser and confirm the emergency."
}

func xmlText(s string) (string, error) {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "", fmt.Errorf("escape a refusal: %w", err)
	}
	return b.String(), nil
}
