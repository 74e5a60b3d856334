package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// The variables that a pod fills from the downward API.
const (
	podName      = "POD_NAME"
	podNamespace = "POD_NAMESPACE"
	podUID       = "POD_UID"
	podIP        = "POD_IP"
	podIPs       = "POD_IPS"
	nodeName     = "NODE_NAME"
)

// metadataNode is the key of the metadata that holds the name of the Kubernetes node.
const metadataNode = "node"

// complete fills in what was not given from the pod, or else the machine, that the agent runs on.
func (c *Config) complete(environment Environment, hostname func() (string, error)) error {
	if err := c.completeID(environment, hostname); err != nil {
		return err
	}
	if c.Name == "" {
		c.Name = environment.value(podName)
	}
	if c.findsAddress() {
		c.Addresses = addressesOfPod(environment)
	}
	if node := environment.value(nodeName); node != "" && c.Metadata[metadataNode] == "" {
		if c.Metadata == nil {
			c.Metadata = map[string]string{}
		}
		c.Metadata[metadataNode] = node
	}
	if c.Owner == "" {
		c.Owner = ownerHere(environment, hostname)
	}
	return nil
}

func (c *Config) completeID(environment Environment, hostname func() (string, error)) error {
	if c.NodeID != "" {
		return nil
	}
	pod, namespace := environment.value(podName), environment.value(podNamespace)
	switch {
	case pod != "" && namespace == "":
		return refuse("%s is set, but %s is not: set it as well, from metadata.namespace, or give --node-id", podName, podNamespace)
	case pod != "":
		c.NodeID = namespace + "." + pod
		return nil
	}
	host, err := hostname()
	if err != nil {
		return refuse("the host name is not known, give --node-id: %v", err)
	}
	c.NodeID = host
	return nil
}

func addressesOfPod(environment Environment) []string {
	var addresses list
	for _, variable := range []string{podIPs, podIP} {
		// A variable that is empty, or can't be read, says nothing.
		if err := addresses.Set(environment.value(variable)); err == nil {
			return addresses
		}
	}
	return nil
}

// machineIDs are the files that tell one machine from another.
var machineIDs = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

// ownerHere returns what tells the agent from another one with the same node ID, and stays the same over a restart.
func ownerHere(environment Environment, hostname func() (string, error)) string {
	if uid := environment.value(podUID); uid != "" {
		return uid
	}
	for _, file := range machineIDs {
		if id, err := os.ReadFile(file); err == nil && len(strings.TrimSpace(string(id))) > 0 {
			return digest(strings.TrimSpace(string(id)))
		}
	}
	// Without a host name the entry has no owner, and is that of whoever writes it.
	host, _ := hostname()
	return host
}

// digest hides the machine ID, which is not to be told to others.
func digest(machineID string) string {
	mac := hmac.New(sha256.New, []byte(machineID))
	mac.Write([]byte("rollcall-agent"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
