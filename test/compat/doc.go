// Package compat tries the slices of the whole manager with those who read them: each test hands what the manager wrote to a real
// API server to the code of one consumer, at a version that go.mod pins. docs/compatibility.md has a row for each.
//
// It is a module of its own, since it compiles half of what runs in a cluster: make compat runs it.
package compat
