//go:build race

package proxy_test

// slowdown is by how much bodies are shorter where the race detector makes
// everything slower.
const slowdown = 8
