// Package faults shows that nothing is lost and nothing is falsely deleted, whatever breaks. The manager's own binary, NATS
// servers and an API server run as processes that are killed, paused, cut off and lied to while a simulated fleet comes
// and goes. An independent observer watches the EndpointSlices and DiscoveredNodes; what it saw is judged by what each
// node did, and by nothing that the manager says of itself.
//
// history.go is what happened, judge.go the verdict on it: pure, and tested by histories that must be condemned. The rest
// are tests: rig_*_test.go put the processes together and take the times, and faults_*_test.go are the faults.
package faults
