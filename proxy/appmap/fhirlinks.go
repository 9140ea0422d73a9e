package appmap

import "github.com/matron-epr/matron/proxy"

// bundleLinks finds the addresses in the links of a Bundle (FHIR R4, 2.36.4),
// such as that of its next page, in the text that it was read from. The text has
// been read before: it is one unambiguous JSON object. What follows the links is
// not looked at.
func bundleLinks(raw []byte) ([]proxy.Link, error) {
	p := jsonParser{src: string(raw)}
	var links []proxy.Link
	err := p.each('{', '}', func(key string) (bool, error) {
		if key != "link" {
			_, err := p.value(1)
			return true, err
		}
		return false, p.each('[', ']', func(string) (bool, error) {
			return true, p.each('{', '}', func(key string) (bool, error) {
				from := p.pos
				v, err := p.value(3)
				if address, ok := v.(string); ok && key == "url" {
					links = append(links, proxy.Link{From: from, To: p.pos, Address: address})
				}
				return true, err
			})
		})
	})
	return links, err
}

// each calls do at each value of an object, with its name, or of an array. A
// value of another kind has none. It stops early where do returns false.
func (p *jsonParser) each(begin, end byte, do func(key string) (more bool, err error)) error {
	if !p.next(begin) {
		_, err := p.value(0)
		return err
	}
	for more := !p.next(end); more; {
		key := ""
		if begin == '{' {
			name, err := p.name()
			if err != nil || !p.next(':') {
				return p.failed()
			}
			key = name
		}
		p.space()
		if on, err := do(key); err != nil || !on {
			return err
		}
		if more = p.next(','); !more && !p.next(end) {
			return p.failed()
		}
	}
	return nil
}
