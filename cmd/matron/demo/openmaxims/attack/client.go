package attack

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// cookieName is the cookie of the application's session.
const cookieName = "JSESSIONID"

var (
	errAnswer = errors.New("the answer is not what the protocol promises")
	errSignIn = errors.New("sign-in was refused")
)

// Client speaks the protocol of the user interface, as the original's own client
// does. It is for one goroutine.
type Client struct {
	HTTP *http.Client // must have a cookie jar
	Base string       // address of the application with its context path
	// Header is added to every request; may be nil.
	Header http.Header

	nodes   map[string]string // menu: caption to node
	buttons map[string]string // of the screen: label to "kind id"
	items   map[string]string // of the screen's menu: text to id
}

// Node is an element of an answer.
type Node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []Node     `xml:",any"`
}

// Attr is the value of an attribute, "" when it is absent.
func (n Node) Attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// All finds the elements of a name, at any depth, in document order.
func (n Node) All(name string) []Node {
	var out []Node
	for _, c := range n.Nodes {
		if c.XMLName.Local == name {
			out = append(out, c)
		}
		out = append(out, c.All(name)...)
	}
	return out
}

// First is the first element of a name, empty when there is none.
func (n Node) First(name string) Node {
	for _, found := range n.All(name) {
		return found
	}
	return Node{}
}

// Answer is what a request brought.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Root   Node // empty when the body is no XML
}

// Caption is the title of the screen the answer shows, "" when it shows none.
func (a Answer) Caption() string { return a.Root.First("form").Attr("caption") }

// Message is what the answer tells the user.
func (a Answer) Message() string {
	var out []string
	for _, m := range a.Root.All("message") {
		out = append(out, m.Text)
	}
	return strings.Join(out, "; ")
}

// Title names user and role.
func (a Answer) Title() string { return a.Root.First("data").Attr("browserTitle") }

// Send sends a request to a path below Base.
func (c *Client) Send(ctx context.Context, method, path, contentType string, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("make request: %w", err)
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("send %s %s: %w", method, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("read answer of %s: %w", path, err)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Body: string(data)}
	if xml.Unmarshal(data, &a.Root) != nil {
		a.Root = Node{}
	}
	return a, nil
}

// Get fetches a path below Base.
func (c *Client) Get(ctx context.Context, path string) (Answer, error) {
	return c.Send(ctx, http.MethodGet, path, "", nil)
}

// Form posts form fields, in pairs of name and value.
func (c *Client) Form(ctx context.Context, path string, pairs ...string) (Answer, error) {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return c.Send(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(v.Encode()))
}

// Raw posts a whole body to the user interface.
func (c *Client) Raw(ctx context.Context, body string) (Answer, error) {
	a, err := c.Send(ctx, http.MethodPost, "/CNHost", "text/xml; charset=UTF-8", []byte(body))
	if err == nil {
		c.learn(a.Root)
	}
	return a, err
}

// Events posts events to the user interface.
func (c *Client) Events(ctx context.Context, events string) (Answer, error) {
	return c.Raw(ctx, `<?xml version="1.0" encoding="utf-8"?><events>`+events+`</events>`)
}

// learn remembers the ids behind what the user reads on the screen.
func (c *Client) learn(root Node) {
	if created := root.First("create"); len(created.Nodes) > 0 {
		c.nodes = map[string]string{}
		for _, n := range created.All("node") {
			if n.Attr("group") == "" {
				c.nodes[n.Attr("caption")] = n.Attr("id")
			}
		}
	}
	if data := root.First("data"); len(data.Nodes) > 0 {
		c.buttons = map[string]string{}
		for _, kind := range []string{"button", "imagebutton"} {
			for _, b := range data.All(kind) {
				c.buttons[b.Attr("value")+b.Attr("tooltip")] = fmt.Sprintf("%s %s", kind, b.Attr("id"))
			}
		}
	}
	if form := root.First("form"); form.XMLName.Local != "" {
		c.items = map[string]string{}
		for _, i := range form.All("menuitem") {
			c.items[i.Attr("text")] = i.Attr("id")
		}
	}
}

// Login signs in and takes the named role if there is a choice.
func (c *Client) Login(ctx context.Context, user, password, role string) (Answer, error) {
	if _, err := c.Events(ctx, `<queryString/><updateTheme/><uniqueID value="u1"/>`); err != nil {
		return Answer{}, err
	}
	a, err := c.Events(ctx, fmt.Sprintf(`<loginEvent id="a1001" name="%s" pass="%s"/>`, attr(user), attr(password)))
	if err != nil {
		return a, err
	}
	if a.Root.First("selectrole_newblue").XMLName.Local != "" {
		if a, err = c.Role(ctx, a, role); err != nil {
			return a, err
		}
	}
	if !strings.Contains(a.Title(), "- "+user+" logged into") {
		return a, fmt.Errorf("%w: %s", errSignIn, a.Message())
	}
	return a, nil
}

// Role chooses a role by name from the picker that a shows, the first for "".
func (c *Client) Role(ctx context.Context, a Answer, name string) (Answer, error) {
	for _, r := range a.Root.All("role") {
		if name == "" || r.Text == name {
			return c.Events(ctx, fmt.Sprintf(`<selectRoleEvent roleID="%s"/>`, attr(r.Attr("id"))))
		}
	}
	return a, fmt.Errorf("%w: there is no role %s", errAnswer, name)
}

// Menu opens a screen from the menu.
func (c *Client) Menu(ctx context.Context, caption string) (Answer, error) {
	node, ok := c.nodes[caption]
	if !ok {
		return Answer{}, fmt.Errorf("%w: the menu has no %s", errAnswer, caption)
	}
	return c.Events(ctx, `<navigation form="`+node+`"/>`)
}

// Press presses a button of the screen by its label; more is what was typed before.
func (c *Client) Press(ctx context.Context, label, more string) (Answer, error) {
	kind, id, ok := strings.Cut(c.buttons[label], " ")
	if !ok {
		return Answer{}, fmt.Errorf("%w: the screen has no button %s", errAnswer, label)
	}
	return c.Events(ctx, more+"<"+kind+` id="`+id+`"/>`)
}

// Choose chooses from the screen's own menu.
func (c *Client) Choose(ctx context.Context, text string) (Answer, error) {
	id, ok := c.items[text]
	if !ok {
		return Answer{}, fmt.Errorf("%w: the menu has no item %s", errAnswer, text)
	}
	return c.Events(ctx, `<menuclick controlID="a1" menuID="1" menuItemID="`+id+`"/>`)
}

// Select selects the row of the answer's grid in which a cell has the text.
func (c *Client) Select(ctx context.Context, a Answer, cell string) (Answer, error) {
	for _, r := range a.Root.All("r") {
		for _, content := range r.All("c") {
			if content.Text == cell {
				return c.Events(ctx, fmt.Sprintf(`<dynamicgrid2selection id="a1022" selection="0" selectedRowID="%s" button="1"/>`, r.Attr("id")))
			}
		}
	}
	return a, fmt.Errorf("%w: no row says %s", errAnswer, cell)
}

// OpenPatient searches by hospital number and opens the patient.
func (c *Client) OpenPatient(ctx context.Context, hospitalNo string) (Answer, error) {
	if _, err := c.Events(ctx, `<topbutton id="-2"/>`); err != nil {
		return Answer{}, err
	}
	a, err := c.Press(ctx, "Search", `<textbox id="a1014">`+attr(hospitalNo)+`</textbox>`)
	if err != nil {
		return a, err
	}
	return c.Select(ctx, a, hospitalNo)
}

// Print prints a report about the current patient and returns its address, below
// Base, leaving the dialog open.
func (c *Client) Print(ctx context.Context, template string) (string, error) {
	if _, err := c.Events(ctx, `<topbutton id="-7"/>`); err != nil {
		return "", err
	}
	a, err := c.Events(ctx, `<updateTheme/>`) // the new window's first request
	if err != nil {
		return "", err
	}
	if _, err = c.Select(ctx, a, template); err != nil {
		return "", err
	}
	if a, err = c.Press(ctx, "Print", ""); err != nil {
		return "", err
	}
	_, path, ok := strings.Cut(a.Root.First("openUrl").Attr("value"), "/MAXIMS/")
	if !ok {
		return "", fmt.Errorf("%w: no report to open", errAnswer)
	}
	return "/" + path, nil
}

// SOAP calls an operation; arguments come in pairs of name and value.
func (c *Client) SOAP(ctx context.Context, service, operation string, pairs ...string) (Answer, error) {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<%s>%s</%s>", pairs[i], attr(pairs[i+1]), pairs[i])
	}
	body := `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><ns1:` + operation +
		` xmlns:ns1="http://webservice.ims">` + b.String() + `</ns1:` + operation + `></soapenv:Body></soapenv:Envelope>`
	return c.Send(ctx, http.MethodPost, "/services/"+service, "text/xml; charset=UTF-8", []byte(body))
}

// Session is the id of the application's session, "" when the client has none.
func (c *Client) Session() string {
	u, err := url.Parse(c.Base + "/CNHost")
	if err != nil {
		return ""
	}
	for _, cookie := range c.HTTP.Jar.Cookies(u) {
		if cookie.Name == cookieName {
			return cookie.Value
		}
	}
	return ""
}

// Plant makes the client use a session of somebody else's.
func (c *Client) Plant(session string) error {
	u, err := url.Parse(c.Base + "/CNHost")
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	c.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: cookieName, Value: session, Path: strings.TrimSuffix(u.Path, "/CNHost")}}) //nolint:gosec // a cookie as the application sets it
	return nil
}

// attr is text as it may stand in an attribute or an element.
func attr(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}
