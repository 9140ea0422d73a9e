//go:build race

package pack_test

// everyNth byte is altered: the race detector makes it slow.
const everyNth = 17
