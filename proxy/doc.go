// Package proxy takes one request through its life: accept, identify, classify,
// limit, decide, record, forward, settle.
//
// It releases no byte of patient data before the record that names the patient
// is durable, never retries a write, never changes clinical content and never
// caches a response. A Gateway is safe for concurrent use.
package proxy
