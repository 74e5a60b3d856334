// Package agent keeps the machine or pod that it runs on in the registry. It is what cmd/rollcall-agent runs.
//
// [Parse] makes a [Config] of flags and environment, and refuses what can't work. [Run] connects to NATS, opens the
// bucket, and lets discovery.Registry.KeepAlive register the node and heartbeat for it. With a health check, it does so
// while the check passes: a node that is unhealthy is unregistered, or says that it is draining.
//
// Nothing that NATS does ends an agent. What does is a signal, or a setting that can't be right: [ConfigError].
package agent
