package proxy

import "encoding/json"

// Link is an address in the text of a held response that leads on in the same
// application, such as that of the next page of a search.
type Link struct {
	From, To int    // where its JSON string stands, quotes included: body[From:To]
	Address  string // what the string says
}

// relinked turns the links of a response that lead to the application into ones
// that lead back through the gateway, as outward does for the header. Nothing
// else of the body is touched, to the byte (GW-15).
func (x *exchange) relinked(body []byte, links []Link) ([]byte, error) {
	if x.route.Upstream == nil {
		return body, nil
	}
	out, done := body, 0
	for _, l := range links {
		if l.From < done || l.To < l.From || l.To > len(body) {
			return nil, errHeldUnreadable
		}
		address := x.route.outward(l.Address, x)
		if address == l.Address {
			continue
		}
		text, err := json.Marshal(address)
		if err != nil {
			return nil, errHeldUnreadable
		}
		if done == 0 {
			out = make([]byte, 0, len(body)+len(links)*len(text))
		}
		out = append(append(out, body[done:l.From]...), text...)
		done = l.To
	}
	if done == 0 {
		return body, nil
	}
	return append(out, body[done:]...), nil
}
