package appmap

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// What nests without end is refused, not followed until the stack is used up.
func TestDeepJSONIsRefused(t *testing.T) {
	const levels = 200_000
	for name, deep := range map[string]string{
		"arrays":     `{"resourceType":"Observation","subject":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}`,
		"objects":    `{"resourceType":"Observation","subject":` + strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) + `}`,
		"never shut": `{"resourceType":"Observation","subject":` + strings.Repeat("[", levels),
		"contained":  strings.Repeat(`{"resourceType":"Observation","contained":[`, levels/2) + strings.Repeat("]}", levels/2),
		"bundles":    strings.Repeat(`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":`, levels/4) + "{}" + strings.Repeat("}]}", levels/4),
	} {
		if got := try(t, mounted(t), "POST", "/Observation", fhirType, deep); !errors.Is(got.Refused, ErrMalformed) {
			t.Errorf("%s in a request: %v", name, got.Refused)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://epr.example/Observation?patient=p1", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := Try(mounted(t), Exchange{Request: r, ResponseBody: []byte(deep), Response: &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirType}}, Request: r,
		}})
		if !errors.Is(got.Withheld, ErrUnreadable) || len(got.Settlement.Patients) > 0 {
			t.Errorf("%s in an answer: %v", name, got.Withheld)
		}
	}
}
