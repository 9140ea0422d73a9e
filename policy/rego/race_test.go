//go:build race

package rego

// racing is what the race detector adds to the allocations of one evaluation.
const racing = 30
