package proxy

import "encoding/json"

// Link is an address in the text of a held response that leads on in the same
// application, such as that of the next page of a search.
type Link struct {
	From, To int64  // where its JSON string stands in the body, quotes included
	Address  string // what the string says
}

// relinked turns the links of a response that lead to the application into ones
// that lead back through the gateway, as outward does for the header. Nothing
// else of the body is touched, to the byte (GW-15).
func (x *exchange) relinked(links []Link) ([]edit, error) {
	if x.route.Upstream == nil {
		return nil, nil
	}
	var edits []edit
	for _, l := range links {
		address := x.route.outward(l.Address, x)
		if address == l.Address {
			continue
		}
		text, err := json.Marshal(address)
		if err != nil {
			return nil, errHeldUnreadable
		}
		edits = append(edits, edit{l.From, l.To, text})
	}
	return edits, nil
}
