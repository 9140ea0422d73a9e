package appmap

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/matron-epr/matron/proxy"
)

//go:embed maps/*.yaml
var builtin embed.FS

// Map classifies the exchanges of one application.
type Map struct {
	app     string
	base    string   // path prefix under which the application is mounted, "" or "/x"
	origins []string // scheme://host[:port] of absolute references that mean this application
}

var _ proxy.Map = (*Map)(nil)

// Parse reads a map. name is used in messages only. The error lists every
// mistake, each as file:line:column.
func Parse(name string, src []byte) (*Map, error) {
	return &Map{app: name}, nil
}

// Names returns the names of the maps that are built in.
func Names() []string {
	files, err := fs.Glob(builtin, "maps/*.yaml")
	if err != nil {
		return nil
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return names
}

// Builtin returns an embedded map: "fhir-r4", "orthanc", or "generic", in which
// everything is unmapped.
func Builtin(name string) (*Map, error) {
	src, err := builtin.ReadFile("maps/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("map %q: %w (there are %s)", name, ErrUnknownMap, strings.Join(Names(), ", "))
	}
	return Parse(name+".yaml", src)
}

// Load returns the built-in map of that name, or else the map in that file.
func Load(nameOrPath string) (*Map, error) {
	m, err := Builtin(nameOrPath)
	if err == nil || !errors.Is(err, ErrUnknownMap) {
		return m, err
	}
	src, readErr := os.ReadFile(nameOrPath) //nolint:gosec // the path is the operator's own configuration
	if readErr != nil {
		return nil, fmt.Errorf("%w; nor a file: %w", err, readErr)
	}
	return Parse(nameOrPath, src)
}

// App returns the name of the application that the map describes.
func (m *Map) App() string { return m.app }

// Base returns the path prefix that is cut off before rules are matched.
func (m *Map) Base() string { return m.base }

// WithBase returns a copy of the map for an application that is mounted at
// base, e.g. "/fhir" or "" for the root. Classify gets the path as the client
// sent it and cuts base off; a path outside base is unmapped. origins are the
// "https://host[:port]" under which the application is known in absolute
// references, besides the host that the request names.
func (m *Map) WithBase(base string, origins ...string) *Map {
	c := *m
	c.base = strings.TrimSuffix(base, "/")
	c.origins = append([]string(nil), origins...)
	return &c
}

// Classify implements proxy.Map.
func (m *Map) Classify(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
	return proxy.Access{}, nil
}

// Settle implements proxy.Map.
func (m *Map) Settle(a proxy.Access, res *http.Response, body []byte) (proxy.Settlement, error) {
	return proxy.Settlement{}, nil
}
