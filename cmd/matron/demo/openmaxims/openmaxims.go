// Package openmaxims is a small emulator of openMAXIMS, the electronic patient
// record, over the made-up hospital: enough of it to put a gateway in front.
//
// It was written from the published protocol of release 10.5 and was not
// verified against a live instance. Spellings that the published source leaves
// open are this package's own: the columns of grids, groups of the menu, the
// parameters of the report servlets, SOAP results, most lines of stack traces.
//
// It gives in to abuse where the original does, so that tests can show that a
// gateway does not: nobody may reach it who may not do anything they like. What
// abuse reaches is only what the emulator itself holds, in memory: it reads no
// file but those of Config.Files, keeps uploads as bytes, runs no SQL but a few
// forms that it knows, and calls loopback addresses only. It never holds a real
// patient. Not emulated: the smartcard and token sign-ins (off by default), the
// Choose and Book gateway, HL7 over MLLP, and reversible password storage.
//
// A Server is safe for concurrent use. Requests of one session are answered one
// after the other, in the order in which their bodies arrived.
package openmaxims

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Base is the context path under which the application is deployed.
const Base = "/MAXIMS"

// maxBody bounds what one request may bring; the original allows uploads of
// 500 MB, which a demonstration does not need.
const maxBody = 8 << 20

// Config is what a Server needs.
type Config struct {
	Hospital *hospital.Hospital
	// Password is every member of staff's password; the default accounts have
	// their published one.
	Password string
	// Expired lists the user names whose password has run out.
	Expired []string
	// Secure makes the client hash passwords with a salt (UseSecureAuthentication).
	Secure bool
	// PickLocation asks for a location after the role.
	PickLocation bool
	// LoginAttempts locks an account after so many wrong passwords in one
	// session; 0, the original's default, never does.
	LoginAttempts int
	// Timeout ends sessions that are not used; 0 means the original's 30 minutes.
	Timeout time.Duration
	// Files is the file system of the emulated server as external XML entities
	// see it; nil has no files.
	Files fs.FS
	// ServerLog is the emulated server's own log, passwords and all; nil drops it.
	ServerLog io.Writer
	// Client fetches what the report servlets are told to fetch, from loopback
	// addresses only; nil fetches nothing.
	Client *http.Client
	Now    func() time.Time
	Log    *slog.Logger
}

var errNoPassword = errors.New("the emulator needs a password for its staff")

// Server is the running emulator, serving everything under Base.
type Server struct {
	cfg      Config
	sessions *registry
	store    *store
	screens  []screen
	mux      *http.ServeMux
	clock    *time.Location // of the times on the screens

	logging sync.Mutex // guards writes to cfg.ServerLog
}

// New makes the emulator of a hospital.
func New(cfg Config) (*Server, error) {
	if cfg.Password == "" {
		return nil, errNoPassword
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Minute
	}
	clock, err := time.LoadLocation("Europe/London")
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the zone already
	}
	s := &Server{
		cfg: cfg, sessions: newRegistry(cfg.Timeout, cfg.Now), store: newStore(cfg, clock),
		screens: screens(), mux: http.NewServeMux(), clock: clock,
	}
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	s.mux.HandleFunc("/CNHost", s.cnHost)
	s.mux.HandleFunc("/Logout", s.logout)
	s.mux.HandleFunc("/Upload", s.upload)
	s.mux.HandleFunc("/ImageUpload", s.upload)
	s.mux.HandleFunc("/PDFUpload", s.pdfUpload)
	s.mux.HandleFunc("/ReturnAsUrlServlet", s.returnAsURL)
	s.mux.HandleFunc("/ReportBuilder", s.reportBuilder)
	s.mux.HandleFunc("/PrintReport", s.reportBuilder)
	s.mux.HandleFunc("/QueryRunner", s.queryRunner)
	s.mux.HandleFunc("/QueryServlet", s.queryServlet)
	s.mux.HandleFunc("/ReportServlet", s.reportServlet)
	s.mux.HandleFunc("/services/{service}", s.soap)
	s.mux.HandleFunc("/services", s.services)
	s.mux.HandleFunc("/servlet/AdminServlet", s.axisAdmin)
	s.mux.HandleFunc("/HL7Engine", s.hl7Engine)
	for _, startUp := range []string{"/QuartzInitializer", "/DischargeSummaryScheduler", "/DnaBatchUpdateServlet"} {
		s.mux.HandleFunc(startUp, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusMethodNotAllowed)
		})
	}
	s.mux.HandleFunc("/", s.static)
}

// ServeHTTP answers everything under Base, as the container does: path
// parameters are no part of the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	bare, id := withoutParameters(r.URL.Path)
	rest, ok := strings.CutPrefix(path.Clean(bare)+"/", Base+"/")
	if !ok {
		s.blank(w, http.StatusNotFound)
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = path.Clean("/"+rest), ""
	if id != "" && sessionCookie(r) == "" {
		inner.Header.Add("Cookie", cookieName+"="+id)
	}
	s.mux.ServeHTTP(w, inner)
}

// withoutParameters takes path parameters off every segment and finds the
// session among them.
func withoutParameters(address string) (bare, session string) {
	segments := strings.Split(address, "/")
	for i, segment := range segments {
		name, parameters, _ := strings.Cut(segment, ";")
		segments[i] = name
		for p := range strings.SplitSeq(parameters, ";") {
			if id, ok := strings.CutPrefix(p, "jsessionid="); ok {
				session = id
			}
		}
	}
	return strings.Join(segments, "/"), session
}

// host is the workstation a request comes from. Like the original it believes
// the header proxy-ip.
func host(r *http.Request) string {
	if claimed := r.Header.Get("proxy-ip"); claimed != "" {
		return claimed
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return address
}

// Workstations lists those that the record's own audit names.
func (s *Server) Workstations() []string {
	var out []string
	for _, a := range s.store.audited() {
		out = append(out, a.host)
	}
	return out
}
