// Package syslog hands the record on as DICOM audit messages (PS3.15 A.5, IHE
// ATNA) to a syslog collector over TLS (RFC 5424, RFC 5425).
//
// It never sends in clear, never drops a record that it cannot fit into one
// message (it shortens named fields and says which), and never holds up care: it
// reads what is durable already. A record may arrive more than once, each time
// with the same source and seq; what a collector that breaks off may have lost
// is sent again. The journal stays the record; a message is a copy.
//
// An Exporter runs once, as one goroutine; Status may be called from anywhere.
// An Encoder is used by one goroutine at a time.
package syslog
