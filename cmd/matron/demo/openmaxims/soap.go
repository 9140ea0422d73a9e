package openmaxims

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// call is one SOAP request.
type call struct {
	srv  *Server
	sess *session
	args func(name string) string
}

// operation is what a SOAP service offers. An open one wants no sign-in.
type operation struct {
	name string
	args []string
	open bool
	do   func(*call) string
}

// operations are those of a service, any of which any signed-in user may call.
func operations(service string) []operation {
	switch service {
	case "WebService", "MAXIMSWebService":
		return append([]operation{
			{"login", []string{"username", "password"}, true, (*call).login},
			{"logout", nil, false, func(c *call) string { c.sess.soap = nil; return "true" }},
			{"searchPatients", []string{"searchString"}, false, (*call).searchPatients},
			{"getMyPatients", nil, false, (*call).myPatients},
			{"getPatientById", []string{"patientId"}, false, (*call).patientByID},
			{"recordVitalSigns", []string{"patientId", "value"}, false, func(c *call) string { return c.record("pulse", c.args("value")) }},
			{"getOrderById", []string{"orderId"}, false, (*call).orderByID},
			{"getPatientImage", []string{"patientId"}, false, func(*call) string { return "" }},
			{"isPatientLate", []string{"patientId"}, false, func(*call) string { return "false" }},
			{"listPatientKioskBookingsForToday", []string{"surname", "dateOfBirth", "genderId", "kioskId"}, false, (*call).kioskBookings},
			{"saveBooking", []string{"patientId", "clinic"}, false, func(c *call) string { return c.record("appointment", c.args("clinic")) }},
			{"buildReport", []string{"templateId", "imsId"}, false, (*call).buildReport},
			{"saveFlag", []string{"flagName", "flagValue"}, false, func(c *call) string {
				c.srv.store.setFlag(c.args("flagName"), c.args("flagValue")) // any flag, any user (S10)
				return "true"
			}},
			{"reloadFlags", nil, false, func(*call) string { return "true" }},
		}, aboutPatients()...)
	case "RemoteSessionAdminWebService":
		return []operation{
			{"login", []string{"username", "password"}, true, (*call).login},
			{"listSessionsWS", nil, false, (*call).listSessions},
			{"terminateSessionWS", []string{"sessionID"}, false, func(c *call) string {
				return strconv.FormatBool(c.srv.sessions.end(c.args("sessionID")))
			}},
			{"toggleLoggingWS", nil, false, func(c *call) string {
				next := "TRUE"
				if c.srv.store.flag("REQUEST_LOGGING") == next {
					next = "FALSE"
				}
				c.srv.store.setFlag("REQUEST_LOGGING", next)
				return next
			}},
		}
	case "AdminService": // remote administration is on (S10)
		return []operation{
			{"list", nil, true, (*call).listServices},
			{"deployment", []string{"service"}, true, func(c *call) string { return c.deploy(true) }},
			{"undeployment", []string{"service"}, true, func(c *call) string { return c.deploy(false) }},
			{"quit", nil, true, func(c *call) string { return c.srv.stopAxis(true) }},
		}
	case "Version":
		return []operation{{"getVersion", nil, true, func(*call) string { return "Apache Axis version: 1.3" }}}
	}
	return nil
}

// aboutPatients are the operations that list what is recorded of one patient.
func aboutPatients() []operation {
	var out []operation
	for name, kinds := range map[string][]string{
		"getPatientOrders": {"order", "pathology", "radiology"}, "getPatientAllergies": {"allergy"}, "getPatientAlerts": {"allergy"},
		"getPatientVitalSigns": {"pulse"}, "getCurrentInpatientCareContext": {"stay"},
		"getPatientDiagnosisForCurrentEpisodeOfCare": {"note"}, "getPatientProceduresForCurrentEpisodeOfCare": {"operation"},
	} {
		out = append(out, operation{name, []string{"patientId"}, false, func(c *call) string {
			m := &markup{}
			for _, e := range c.srv.store.list(patientID(c.args("patientId")), kinds...) {
				m.leaf("item", e.text, "id", strconv.Itoa(e.id), "when", c.srv.when(e.when), "status", e.status)
			}
			return m.String()
		}})
	}
	slices.SortFunc(out, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return out
}

// soap answers a call of one service.
func (s *Server) soap(w http.ResponseWriter, r *http.Request) {
	service := r.PathValue("service")
	ops := operations(service)
	s.store.mu.Lock()
	deployed, stopped := s.store.services[service], s.store.stopped
	s.store.mu.Unlock()
	if ops == nil || !deployed || stopped {
		s.soapFault(w, "The AXIS engine could not find a target service to invoke: "+service)
		return
	}
	if r.Method == http.MethodGet {
		s.describe(w, r, service, ops)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.soapFault(w, "java.io.IOException")
		return
	}
	root, err := parse(body, s.cfg.Files)
	if err != nil {
		s.soapFault(w, "org.xml.sax.SAXParseException: "+err.Error())
		return
	}
	request, ok := firstOf(root, "Body")
	i := slices.IndexFunc(ops, func(o operation) bool { return ok && o.name == request.name })
	if i < 0 {
		s.soapFault(w, "No such operation '"+request.name+"'")
		return
	}
	held, done := s.take(w, r)
	defer done()
	op := ops[i]
	if !op.open && held.soap == nil {
		s.soapFault(w, "Not logged in")
		return
	}
	c := &call{srv: s, sess: held, args: arguments(request, op.args)}
	sendXML(w, envelope(`<ns1:`+op.name+`Response xmlns:ns1="http://webservice.ims"><`+op.name+`Return>`+op.do(c)+`</`+op.name+`Return></ns1:`+op.name+`Response>`))
}

// firstOf is the first child of the named child: the operation.
func firstOf(e event, name string) (event, bool) {
	for _, c := range e.children {
		if c.name == name && len(c.children) > 0 {
			return c.children[0], true
		}
	}
	return event{}, false
}

// arguments finds them by name or, as Axis numbers them, by place.
func arguments(request event, names []string) func(string) string {
	return func(name string) string {
		place := "in" + strconv.Itoa(slices.Index(names, name))
		for _, c := range request.children {
			if c.name == name || c.name == place {
				return strings.TrimSpace(c.text)
			}
		}
		return ""
	}
}

func envelope(body string) string {
	return prolog + `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>` + body + `</soapenv:Body></soapenv:Envelope>`
}

func (s *Server) soapFault(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=UTF-8")
	w.WriteHeader(http.StatusInternalServerError)
	write(w, envelope(`<soapenv:Fault><faultcode>soapenv:Server.userException</faultcode><faultstring>`+escape(text)+`</faultstring></soapenv:Fault>`))
}

// describe answers ?wsdl, and anything else with a line of text.
func (s *Server) describe(w http.ResponseWriter, r *http.Request, service string, ops []operation) {
	if _, ok := r.URL.Query()["wsdl"]; !ok {
		page(w, "<h1>"+escape(service)+"</h1><p>Hi there, this is an AXIS service!</p>")
		return
	}
	m := &markup{}
	m.raw(prolog)
	m.tag("wsdl:definitions", "xmlns:wsdl", "http://schemas.xmlsoap.org/wsdl/", "targetNamespace", "http://webservice.ims")
	m.tag("wsdl:portType", "name", service)
	for _, o := range ops {
		m.leaf("wsdl:operation", "", "name", o.name, "parameterOrder", strings.Join(o.args, " "))
	}
	m.end("wsdl:portType")
	m.end("wsdl:definitions")
	sendXML(w, m.String())
}

// services lists what is deployed, to anybody.
func (s *Server) services(w http.ResponseWriter, _ *http.Request) {
	page(w, "<h2>And now... Some Services</h2><p>"+(&call{srv: s}).listServices()+"</p>")
}

// axisAdmin starts and stops the services for anybody (S10).
func (s *Server) axisAdmin(w http.ResponseWriter, r *http.Request) {
	state := "is running"
	switch r.FormValue("cmd") {
	case "stop":
		state = s.stopAxis(true)
	case "start":
		state = s.stopAxis(false)
	}
	page(w, "<h1>Axis administration</h1><p>The server "+state+"</p>")
}

func (s *Server) stopAxis(stop bool) string {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.stopped = stop
	if stop {
		return "is stopped"
	}
	return "is running"
}

func (c *call) listServices() string {
	c.srv.store.mu.Lock()
	defer c.srv.store.mu.Unlock()
	var names []string
	for name, on := range c.srv.store.services {
		if on {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (c *call) deploy(on bool) string {
	name := c.args("service")
	c.srv.store.mu.Lock()
	defer c.srv.store.mu.Unlock()
	if _, known := c.srv.store.services[name]; known {
		c.srv.store.services[name] = on
	}
	return "Done processing"
}

func (c *call) login() string {
	a, ok := c.srv.store.check(c.args("username"), c.args("password"), "")
	if ok {
		c.sess.soap = &a
		c.srv.sessions.name(c.sess.id, a.user, "SOAP", "")
	}
	return strconv.FormatBool(ok)
}

func patientMarkup(p patient) string {
	m := &markup{}
	m.tag("patient", "id", strconv.Itoa(p.id))
	for _, f := range [][2]string{
		{"hospitalNumber", p.hospitalNo},
		{"nhsNumber", p.nhs},
		{"surname", p.surname},
		{"forename", p.forename},
		{"dateOfBirth", p.born},
		{"sex", p.sex},
		{"address", p.address},
		{"phone", p.phone},
	} {
		m.leaf(f[0], f[1])
	}
	m.end("patient")
	return m.String()
}

func (c *call) searchPatients() string {
	wanted := strings.ToLower(c.args("searchString"))
	var out strings.Builder
	for _, p := range c.srv.store.find(func(p patient) bool {
		return strings.Contains(strings.ToLower(p.surname+" "+p.forename), wanted) || p.hospitalNo == c.args("searchString") || p.nhs == c.args("searchString")
	}) {
		out.WriteString(patientMarkup(p))
	}
	return out.String()
}

// myPatients are those on the user's own ward.
func (c *call) myPatients() string {
	var out strings.Builder
	for _, number := range c.srv.cfg.Hospital.OnWard(c.sess.soap.ward, c.srv.cfg.Now()) {
		for _, p := range c.srv.store.find(func(p patient) bool { return p.hospitalNo == number }) {
			out.WriteString(patientMarkup(p))
		}
	}
	return out.String()
}

// patientByID gives any patient to any user: the number is all it takes.
func (c *call) patientByID() string {
	p, ok := c.srv.store.patient(patientID(c.args("patientId")))
	if !ok {
		return ""
	}
	return patientMarkup(p)
}

// record adds to what is known of the patient.
func (c *call) record(kind, text string) string {
	p, ok := c.srv.store.patient(patientID(c.args("patientId")))
	if ok {
		c.srv.store.record(entry{patient: p.id, kind: kind, text: text, status: "Active", by: c.sess.soap.name})
	}
	return strconv.FormatBool(ok)
}

// kioskBookings are the appointments of whoever gives a surname and a birthday.
func (c *call) kioskBookings() string {
	m := &markup{}
	for _, p := range c.srv.store.find(func(p patient) bool {
		return strings.EqualFold(p.surname, c.args("surname")) && p.born == c.args("dateOfBirth")
	}) {
		for _, e := range c.srv.store.list(p.id, "appointment") {
			m.leaf("booking", e.text, "id", strconv.Itoa(e.id), "patientId", strconv.Itoa(p.id), "when", c.srv.when(e.when))
		}
	}
	return m.String()
}

func (c *call) orderByID() string {
	for _, e := range c.srv.store.list(0, "order", "pathology", "radiology") {
		if fmt.Sprint(e.id) == c.args("orderId") {
			return escape(e.text + " (" + e.status + ")")
		}
	}
	return ""
}

func (c *call) buildReport() string {
	return escape(c.srv.reportURL(c.sess.id, c.srv.build(c.args("templateId"), patientID(c.args("imsId")))))
}

func (c *call) listSessions() string {
	m := &markup{}
	for _, s := range c.srv.sessions.list() {
		m.leaf("session", "", "id", s.ID, "user", s.User, "role", s.Role, "host", s.Host)
	}
	return m.String()
}
