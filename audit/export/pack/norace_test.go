//go:build !race

package pack_test

const everyNth = 1
