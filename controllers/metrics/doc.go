// Package metrics is what Rollcall counts and measures of itself.
//
// Definitions is the list of all metrics, from which docs/reference/metrics.md is made. What is to be said of a registry is
// read from its Mirror when somebody scrapes, so a registry that is gone takes its series along, and a heartbeat costs no
// more than one addition. Writes are counted by the client that Client returns, latencies are told by the projections.
package metrics
