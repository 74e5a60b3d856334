//go:build race

package pods

// raced says that the race detector is on, with which no figure means anything.
const raced = true
