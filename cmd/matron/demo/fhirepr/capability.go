package fhirepr

import "net/http"

// capabilities describes this server as FHIR asks. It names no patient.
func (e *EPR) capabilities(w http.ResponseWriter, r *http.Request) {
	var resources []any
	for _, typ := range types() {
		var search []any
		for _, p := range parameters(typ) {
			search = append(search, map[string]any{"name": p, "type": paramType(p)})
		}
		resources = append(resources, map[string]any{
			"type": typ, "versioning": "versioned-update", "readHistory": true, "updateCreate": false,
			"conditionalCreate": false, "conditionalUpdate": false, "conditionalDelete": "not-supported",
			"interaction": codes("read", "vread", "history-instance", "search-type", "create", "update", "delete"),
			"searchParam": search,
		})
	}
	e.sendJSON(w, r, http.StatusOK, map[string]any{
		"resourceType": "CapabilityStatement", "status": "active", "date": e.cfg.Hospital.Day.Format("2006-01-02"),
		"kind": "instance", "fhirVersion": "4.0.1", "format": []string{"application/fhir+json"},
		"software":       map[string]any{"name": "Demonstration record"},
		"implementation": map[string]any{"description": "Made-up patients for a demonstration", "url": e.base()},
		"rest": []any{map[string]any{
			"mode": "server", "resource": resources, "interaction": codes("transaction", "batch"),
		}},
	})
}

func codes(in ...string) []any {
	out := make([]any, len(in))
	for i, c := range in {
		out[i] = map[string]any{"code": c}
	}
	return out
}

func paramType(name string) string {
	switch name {
	case "name", "family", "given":
		return "string"
	case "patient", "subject":
		return "reference"
	case "birthdate":
		return "date"
	case "_count", "_offset":
		return "number"
	}
	return "token"
}
