// Package noderegistry turns a NodeRegistry into a connection, a bucket and a Mirror, and says in its status how they are.
//
// One session per NodeRegistry finds or creates the bucket and watches it into the Mirror. The session outlives every
// outage; the Mirror outlives the session, so that another Secret or server drops no node.
//
// # What a person says
//
// The cordons are an input of the Mirror: a handler of the DiscoveredNodes' watch brings spec.cordoned in. It outlives the
// object, whoever deletes it. Departures knows which NodeRegistries are gone; session and Mirror wait for one to come back for
// 10 s, and are adopted by whatever is created under its name. Under a new leader the Mirror is gone, but not what is known of
// it: DiscoveredNodes that are collected before the NodeRegistry is back are remembered as its seed.
package noderegistry
