//go:build !race

package rego

const racing = 0
