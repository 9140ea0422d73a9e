package appmap

import "github.com/matron-epr/matron/proxy"

// bundleLinks finds the addresses in the links of a Bundle (FHIR R4, 2.36.4),
// such as that of its next page. text is the list of links as it is written, and
// begins at a place of the response. It has been read before: it is one
// unambiguous JSON value.
func bundleLinks(text string, begins int64) (links []proxy.Link, err error) {
	s := jsonStream{jsonParser: jsonParser{src: text}, base: begins}
	if !s.begins('[') {
		return nil, nil
	}
	err = s.each(1, func(string, int) error {
		if !s.begins('{') {
			return s.skip(2)
		}
		return s.each(2, func(name string, _ int) error {
			from := s.at()
			v, err := s.whole(3)
			if address, ok := v.(string); ok && name == "url" {
				links = append(links, proxy.Link{From: from, To: s.at(), Address: address})
			}
			return err
		})
	})
	return links, err
}

// begins reports whether the value that is next begins with c.
func (s *jsonStream) begins(c byte) bool {
	next, err := s.ahead()
	return err == nil && next == c
}
