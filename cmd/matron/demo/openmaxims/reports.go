package openmaxims

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxReports bounds the reports that wait to be fetched; then all are dropped.
const maxReports = 1000

// build makes a report about a patient, 0 for nobody in particular.
func (s *Server) build(template string, patient int) []byte {
	lines := []string{template, s.when(s.cfg.Now())}
	if p, ok := s.store.patient(patient); ok {
		lines = append(lines, p.banner(s.cfg.Now(), s.wardOf(p.id), ""), p.address)
		for _, e := range s.store.list(p.id, "note", "pathology", "prescription", "allergy") {
			lines = append(lines, s.when(e.when)+" "+e.text+" ("+e.status+")")
		}
	}
	return pdf(lines)
}

// pdf is one page of plain text.
func pdf(lines []string) []byte {
	var text strings.Builder
	text.WriteString("BT /F1 10 Tf 40 800 Td 14 TL\n")
	for _, l := range lines {
		fmt.Fprintf(&text, "(%s) Tj T*\n", strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(l))
	}
	text.WriteString("ET")
	var out bytes.Buffer
	var at []int
	out.WriteString("%PDF-1.4\n")
	for i, object := range []string{
		"<</Type/Catalog/Pages 2 0 R>>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
		fmt.Sprintf("<</Length %d>>stream\n%s\nendstream", text.Len(), text.String()),
		"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
	} {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj%s endobj\n", i+1, object)
	}
	start := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, offset := range at {
		fmt.Fprintf(&out, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&out, "trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, start)
	return out.Bytes()
}

// reportURL puts a report by and returns where it is fetched: under a key made
// of time, session and checksum (S11).
func (s *Server) reportURL(session string, body []byte) string {
	key := fmt.Sprintf("%d%s%08x", s.cfg.Now().UnixMilli(), session, crc32.ChecksumIEEE(body))
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if len(s.store.reports) >= maxReports {
		clear(s.store.reports)
	}
	s.store.reports[key] = body
	return Base + "/ReturnAsUrlServlet?action=getResult&id=" + key + "&appservername=APP01"
}

// returnAsURL hands a report to whoever brings its key, once.
func (s *Server) returnAsURL(w http.ResponseWriter, r *http.Request) {
	key := r.FormValue("id")
	s.store.mu.Lock()
	body, ok := s.store.reports[key]
	delete(s.store.reports, key)
	s.store.mu.Unlock()
	if !ok {
		plain(w, "The result is no longer available.")
		return
	}
	sendPDF(w, body)
}

func sendPDF(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/pdf")
	write(w, string(body))
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	write(w, text)
}

// reportBuilder builds a report for anybody (S1), or asks another server to,
// whichever the request names.
func (s *Server) reportBuilder(w http.ResponseWriter, r *http.Request) {
	if server := r.FormValue("urlServer"); server != "" {
		plain(w, s.fetch(r, server))
		return
	}
	template := r.FormValue("template")
	if s.store.template(template) == "" {
		plain(w, "java.lang.Exception: template '"+template+"' was not found\n\tat com.ims.query.server.ReportBuilder.doPost(ReportBuilder.java:135)")
		return
	}
	sendPDF(w, s.build(template, patientID(r.FormValue("Patient_id"))))
}

// fetch gets what the client named, on this machine only.
func (s *Server) fetch(r *http.Request, address string) string {
	u, err := url.Parse(address)
	if err != nil || s.cfg.Client == nil || u.Scheme != "http" || !net.ParseIP(u.Hostname()).IsLoopback() {
		return "java.net.ConnectException: Connection refused"
	}
	client := *s.cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil) //nolint:gosec // loopback only, as checked above; that it goes where it is told is the weakness shown
	if err != nil {
		return "java.net.MalformedURLException"
	}
	res, err := client.Do(req) //nolint:gosec // as above
	if err != nil {
		return "java.net.ConnectException: Connection refused"
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "java.io.IOException"
	}
	return string(body)
}

// queryServlet is the schema browser of the report designer.
func (s *Server) queryServlet(w http.ResponseWriter, r *http.Request) {
	switch r.FormValue("action") {
	case "list", "listPC", "listTables":
		m := &markup{}
		m.raw(prolog)
		m.tag("tables")
		for _, name := range []string{"core_patient", "core_appuser", "appaudit"} {
			m.leaf("table", "", "name", name)
		}
		m.end("tables")
		sendXML(w, m.String())
	case "login":
		_, ok := s.store.check(r.FormValue("user"), r.FormValue("pass"), "")
		plain(w, strconv.FormatBool(ok))
	default:
		plain(w, "")
	}
}

// reportServlet is the store of report templates, open to anybody (S1).
func (s *Server) reportServlet(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	switch r.FormValue("action") {
	case "listReports":
		m := &markup{}
		m.raw(prolog)
		m.tag("reports")
		for _, t := range s.store.templates() {
			m.leaf("report", "", "name", t)
		}
		m.end("reports")
		sendXML(w, m.String())
	case "getReport":
		plain(w, s.store.template(name))
	case "putFullReport", "insertReport", "updateReport":
		plain(w, strconv.FormatBool(s.store.putTemplate(name, r.FormValue("report"))))
	default:
		plain(w, "false")
	}
}

func sendXML(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/xml; charset=UTF-8")
	write(w, body)
}
