// Package mllp receives HL7 v2 messages over MLLP, the framing that hospital
// systems send them in: 0x0B, the message, 0x1C 0x0D, over mutual TLS.
//
// A message is acknowledged as accepted only after the handler has said that it
// is durable. Whatever is refused is handed to an observer, so that the gateway
// can record it. A garbled message is refused and the next one is read: it never
// stops the feed. The package never looks at what a message means and never
// keeps one.
package mllp
