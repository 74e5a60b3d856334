// Package machine gives a test a machine of its own, made of Linux namespaces: its own processes, network, mounts,
// host name and System V objects, and folders of its own in the place of those that the parts of a cluster write to.
//
// The machine ends with its first process, whatever ended that: the kernel then kills every other process in it, and with
// the last one go its interfaces, packet filter rules and mounts. What is not in a namespace, which is control groups
// and one folder, is removed by the process outside. A survey of the host before and after shows that nothing is left.
package machine
