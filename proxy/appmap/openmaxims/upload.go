package openmaxims

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"path"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxParts bounds the parts of one upload.
const maxParts = 64

// Upload reads a file that is sent to one of the upload servlets, which take
// anything from anybody (weak spots S8 and S9): whoever is not signed in to the
// application, and files of kinds that the tables do not name, are refused.
func (s *Session) Upload(contentType []string, body []byte, t *Tables) (Plan, error) {
	p := Plan{
		Parts:  []proxy.Part{{Action: policy.Create, Area: policy.Documents, Resource: "upload"}},
		Screen: s.screen.caption, Kind: proxy.Interactive, Deliberate: "true",
		Certainty: audit.Unknown, Source: audit.SourceSession,
	}
	if s.known && !s.nameless && s.patient != (proxy.Patient{}) {
		p.Patients, p.Certainty = []proxy.Patient{s.patient}, audit.Learned
	}
	if !s.signedIn {
		p.Block = NotSignedIn
	}
	if len(contentType) != 1 {
		return Plan{}, malformed("no single media type")
	}
	kind, parameters, err := mime.ParseMediaType(contentType[0])
	if err != nil || kind != "multipart/form-data" || parameters["boundary"] == "" {
		return Plan{}, malformed("an upload that is no form")
	}
	form := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for i := 0; ; i++ {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) && i > 0 {
			return p, nil
		}
		if err != nil || i >= maxParts {
			return Plan{}, malformed("a form that cannot be read")
		}
		if err := t.uploadPart(part, &p); err != nil {
			return Plan{}, err
		}
	}
}

// uploadPart reads one part of an upload.
func (t *Tables) uploadPart(part *multipart.Part, p *Plan) error {
	raw := part.Header["Content-Disposition"]
	if len(raw) != 1 {
		return malformed("a part of a form without one disposition")
	}
	_, parameters, err := mime.ParseMediaType(raw[0])
	if err != nil || strings.Contains(strings.ToLower(raw[0]), "filename*") {
		return malformed("a part of a form whose name can be read in two ways")
	}
	name, isFile := parameters["filename"]
	if isFile && !t.acceptable(name) && p.Block == NotBlocked {
		p.Block = FileRefused
	}
	if isFile || parameters["name"] != "ims_file_upload_params" {
		return nil
	}
	content, err := io.ReadAll(part)
	if err != nil {
		return malformed("a form that cannot be read")
	}
	_, err = parse(content)
	return err
}

// acceptable reports whether a file may be sent under a name: a plain one, of a
// kind that is allowed, which no server takes for a program or another folder.
func (t *Tables) acceptable(name string) bool {
	stem, kind := strings.TrimSuffix(name, path.Ext(name)), strings.TrimPrefix(path.Ext(name), ".")
	return stem != "" && t.kinds[strings.ToLower(kind)] && len(name) < 256 &&
		!strings.ContainsAny(name, "/\\:;%\x00\r\n\"<>|*?") && !strings.Contains(name, "..")
}

// Uploaded reads where the application put a file:
// <response><item name="/uploads/x.pdf" type="…"/></response>.
func (s *Session) Uploaded(body []byte, bases []string) error {
	d, err := parse(body)
	if err != nil {
		return err
	}
	d.within(0, func(i int) {
		if name := d.attr(i, "name"); d.is(i, "item") && name != "" {
			s.grant(below(name, bases))
		}
	})
	return nil
}
