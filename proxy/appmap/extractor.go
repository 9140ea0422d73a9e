package appmap

import (
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap/openmaxims"
)

// extractor is a piece of logic that a declaration cannot hold, named in a map
// by use.
type extractor struct {
	name    string
	tables  []string // that it needs
	request func(x *exchange, a *proxy.Access) error
	// response reads a held response; nil when the extractor never holds one.
	response func(n *answer) (found, error)
	// settle is in place of response where the extractor says more of it than
	// whom it names.
	settle func(n *answer) (proxy.Settlement, error)
}

func (e *extractor) holds() bool { return e.response != nil || e.settle != nil }

func extractors() []extractor {
	fhir := []string{"areas", "subjects", "params"}
	maxims := openmaxims.Names()
	return []extractor{
		{name: "fhir.read", tables: fhir, request: fhirRead, response: fhirResponse},
		{name: "fhir.binary", tables: fhir, request: fhirBinary, response: fhirBinaryResponse},
		{name: "fhir.search", tables: fhir, request: fhirSearch, response: fhirResponse},
		{name: "fhir.everything", tables: fhir, request: fhirEverything, response: fhirWholeRecord},
		{name: "fhir.system", tables: fhir, request: fhirSystem, response: fhirResponse},
		{name: "fhir.export", tables: fhir, request: fhirExport, response: fhirExportResponse},
		{name: "fhir.graphql", tables: fhir, request: fhirGraphQL, response: fhirGraphQLResponse},
		{name: "fhir.write", tables: fhir, request: fhirWrite, response: fhirResponse},
		{name: "fhir.patch", tables: fhir, request: fhirPatch, response: fhirResponse},
		{name: "fhir.conditional", tables: fhir, request: fhirConditional, response: fhirResponse},
		{name: "fhir.bundle", tables: fhir, request: fhirBundle, response: fhirBundleResponse},
		trytonExtractor(),
		phpExtractor(),
		{name: "openehr.query", request: openehrQuery, response: openehrRows},
		{name: "openmaxims.host", tables: maxims, request: maximsHost, settle: maximsAnswer},
		{name: "openmaxims.logout", tables: maxims, request: maximsLogout},
		{name: "openmaxims.document", tables: maxims, request: maximsDocument},
		{name: "openmaxims.upload", tables: maxims, request: maximsUpload, settle: maximsUploaded},
		{name: "openmaxims.soap", tables: maxims, request: maximsCall, settle: maximsResult},
	}
}

func builtinExtractor(name string) (extractor, bool) {
	for _, e := range extractors() {
		if e.name == name {
			return e, true
		}
	}
	return extractor{}, false
}

func extractorNames() []string {
	var names []string
	for _, e := range extractors() {
		names = append(names, e.name)
	}
	return names
}
