package proxy

import "encoding/json"

// trytonError is a refusal as the error of Tryton's JSON-RPC that its clients show
// in a box (releases 5.2 and later: message, description and domain). They take an
// answer for theirs only if it repeats the number of the call.
func (x *exchange) trytonError(e explanation) ([]byte, error) {
	return json.Marshal(struct {
		ID    json.RawMessage `json:"id"`
		Error []any           `json:"error"`
	}{json.RawMessage(x.access.Reply), []any{"UserError", []any{e.title, x.refusalText(e), nil}}})
}
