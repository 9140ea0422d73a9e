package tlscert

import "crypto/tls"

// Renew does what Local does every hour.
func (m *Manager) Renew() error {
	l, ok := m.source.(*local)
	if !ok {
		return nil
	}
	return l.renew()
}

// Current is the certificate served to a client that asks for name.
func (m *Manager) Current(name string) (*tls.Certificate, error) {
	return m.source.certificate(&tls.ClientHelloInfo{ServerName: name})
}
