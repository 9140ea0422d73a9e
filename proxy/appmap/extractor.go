package appmap

import (
	"github.com/matron-epr/matron/proxy"
)

// extractor is a piece of logic that a declaration cannot hold, named in a map
// by use.
type extractor struct {
	name    string
	tables  []string // that it needs
	request func(x *exchange, a *proxy.Access) error
	// response reads a held response; nil when the extractor never holds one.
	response func(n *answer) (found, error)
}

func extractors() []extractor {
	fhir := []string{"areas", "subjects", "params"}
	return []extractor{
		{"fhir.read", fhir, fhirRead, fhirResponse},
		{"fhir.binary", fhir, fhirBinary, fhirBinaryResponse},
		{"fhir.search", fhir, fhirSearch, fhirResponse},
		{"fhir.everything", fhir, fhirEverything, fhirWholeRecord},
		{"fhir.system", fhir, fhirSystem, fhirResponse},
		{"fhir.export", fhir, fhirExport, fhirExportResponse},
		{"fhir.graphql", fhir, fhirGraphQL, fhirGraphQLResponse},
		{"fhir.write", fhir, fhirWrite, fhirResponse},
		{"fhir.patch", fhir, fhirPatch, fhirResponse},
		{"fhir.conditional", fhir, fhirConditional, fhirResponse},
		{"fhir.bundle", fhir, fhirBundle, fhirResponse},
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
