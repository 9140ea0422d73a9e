//go:build !race

package proxy_test

// slowdown is by how much bodies are shorter than what is to be shown.
const slowdown = 1
