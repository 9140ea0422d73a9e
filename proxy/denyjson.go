package proxy

import "encoding/json"

// openmrsError is a refusal as the REST interface of OpenMRS reports errors: its
// clients show the message.
func (x *exchange) openmrsError(e explanation) ([]byte, error) {
	type inner struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}
	return json.Marshal(struct {
		Error inner `json:"error"`
	}{inner{x.refusalText(e), e.title}})
}

// openehrMessage is a refusal as openEHR's REST interface reports errors, with the
// member error that EHRbase adds.
func (x *exchange) openehrMessage(e explanation) ([]byte, error) {
	return json.Marshal(struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{e.title, x.refusalText(e)})
}
