package openmaxims

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
)

// Bounds of what uploads may fill, in bytes and files.
const (
	maxStored  = 64 << 20
	maxUploads = 1000
)

var errFull = errors.New("java.io.IOException: no space left on device")

// upload takes files from anybody into the folder that is served (S9). It checks
// the extension only against a list that the client itself brings.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	m := &markup{}
	m.raw(prolog)
	m.tag("response")
	err := eachPart(r, s.cfg.Files, func(p *multipart.Part, allowed []string) error {
		name := p.FileName()
		if ext := strings.TrimPrefix(path.Ext(name), "."); allowed != nil && !slices.Contains(allowed, ext) {
			m.leaf("error", "The type "+ext+" is not allowed. Allowed: "+strings.Join(allowed, ", "))
			return nil
		}
		m.leaf("item", "", "name", "/uploads/"+name, "type", p.Header.Get("Content-Type"))
		return s.stash("/uploads/"+name, p)
	})
	if err != nil {
		m.leaf("error", err.Error())
	}
	m.end("response")
	sendXML(w, m.String())
}

// pdfUpload joins the file path of the client to a folder, dots and all (S9).
func (s *Server) pdfUpload(w http.ResponseWriter, r *http.Request) {
	err := eachPart(r, s.cfg.Files, func(p *multipart.Part, _ []string) error {
		_, disposition, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			return fmt.Errorf("read part: %w", err)
		}
		return s.stash("/PDFStore/"+disposition["filename"], p)
	})
	if err != nil {
		plain(w, err.Error())
		return
	}
	plain(w, "OK")
}

// eachPart calls file for every file of a form, with the list of extensions that
// an earlier ims_file_upload_params gave, nil without one. The list is XML, read
// with everything that the parser of the user interface accepts (S8).
func eachPart(r *http.Request, files fs.FS, file func(*multipart.Part, []string) error) error {
	form, err := r.MultipartReader()
	if err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	var allowed []string
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read form: %w", err)
		case part.FileName() != "":
			err = file(part, allowed)
		case part.FormName() == "ims_file_upload_params":
			allowed, err = extensions(part, files)
		}
		if err != nil {
			return err
		}
	}
}

func extensions(part io.Reader, files fs.FS) ([]string, error) {
	body, err := io.ReadAll(part)
	if err != nil {
		return nil, fmt.Errorf("read parameters: %w", err)
	}
	root, err := parse(body, files)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, e := range root.children {
		out = append(out, e.text)
	}
	return out, nil
}

// stash keeps an uploaded file in memory, where static serves it.
func (s *Server) stash(name string, body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	total := len(data)
	for _, u := range s.store.uploads {
		total += len(u)
	}
	if total > maxStored || len(s.store.uploads) >= maxUploads {
		return errFull
	}
	s.store.uploads[path.Clean(strings.ReplaceAll(name, `\`, "/"))] = data
	return nil
}

// static serves uploads and the few files that the client starts from. The
// original's own client runs in Internet Explorer only and is not part of this.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	s.store.mu.Lock()
	uploaded, ok := s.store.uploads[path.Clean(r.URL.Path)]
	s.store.mu.Unlock()
	kind := mime.TypeByExtension(path.Ext(r.URL.Path))
	if kind == "" || path.Ext(r.URL.Path) == ".jsp" { // the original would run it
		kind = "text/html; charset=UTF-8"
	}
	if ok {
		w.Header().Set("Content-Type", kind)
		write(w, string(uploaded))
		return
	}
	switch r.URL.Path {
	case "/", "/full-screen.html":
		page(w, `<script>window.open("ideagz.html"+location.search,"imswa_maxims");</script>`)
	case "/ideagz.html":
		page(w, `<script src="packed/jscn.js.gz"></script><p>Demonstration data. This page needs the client of the original.</p>`)
	case "/packed/jscn.js.gz":
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		if _, err := zip.Write([]byte("/* The client of the original is not part of the emulator. */\n")); err == nil {
			err = zip.Close()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	case "/themes/new-blue/style.css":
		w.Header().Set("Content-Type", "text/css")
		write(w, "body{font-family:Tahoma,sans-serif}\n")
	case "/blank.html":
		s.blank(w, http.StatusOK)
	default:
		s.blank(w, http.StatusNotFound)
	}
}

func page(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	write(w, "<html><head><title>MAXIMS</title></head><body>"+body+"</body></html>")
}

// blank is the page that stands for every error.
func (s *Server) blank(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	write(w, "<html><body></body></html>")
}

// hl7Engine is the status page of the message interface, open to anybody.
func (s *Server) hl7Engine(w http.ResponseWriter, _ *http.Request) {
	page(w, "<h1>HL7 Engine</h1><p>Listener: stopped. This emulator exchanges no messages.</p>")
}
