package dashboards

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// ErrAssets says that the binary was built without its style sheet.
var ErrAssets = errors.New("assets not built: run make assets, then build again")

//go:embed all:assets/dist
var dist embed.FS

// asset is one embedded file.
type asset struct {
	name string // matron.css
	path string // address with the hash of the content, matron.1a2b3c4d.css
	tag  string // entity tag
	kind string // media type
	body []byte
}

// assets serves the embedded files by their plain name, to be revalidated, and
// by a name that holds their hash, to be kept. It is immutable.
type assets struct {
	plain  map[string]*asset
	hashed map[string]*asset
}

// loadAssets reads what npm run assets built.
func loadAssets() (*assets, error) {
	built, err := fs.Sub(dist, "assets/dist")
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	return readAssets(built)
}

func readAssets(built fs.FS) (*assets, error) {
	a := &assets{plain: map[string]*asset{}, hashed: map[string]*asset{}}
	for name, kind := range map[string]string{
		"matron.css":  "text/css; charset=utf-8",
		"matron.js":   "text/javascript; charset=utf-8",
		"favicon.svg": "image/svg+xml",
	} {
		body, err := fs.ReadFile(built, name)
		if err != nil {
			return nil, fmt.Errorf("%w (%s)", ErrAssets, name)
		}
		sum := sha256.Sum256(body)
		hash := hex.EncodeToString(sum[:8])
		ext := path.Ext(name)
		file := &asset{name: name, path: strings.TrimSuffix(name, ext) + "." + hash + ext, tag: `"` + hash + `"`, kind: kind, body: body}
		a.plain[file.name] = file
		a.hashed[file.path] = file
	}
	return a, nil
}

// url is the address to put on a page.
func (a *assets) url(name string) string {
	return Base + "assets/" + a.plain[name].path
}

// ServeHTTP answers GET and HEAD of one file.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	caching := "public, max-age=31536000, immutable"
	file := a.hashed[name]
	if file == nil {
		file, caching = a.plain[name], "no-cache"
	}
	if file == nil || r.URL.Path != Base+"assets/"+name {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("Cache-Control", caching)
	h.Set("ETag", file.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, file.name, time.Time{}, bytes.NewReader(file.body))
}
