package record

import (
	"encoding/json"
	"maps"

	"github.com/rollcall-dev/rollcall/discovery"
)

// envelope is how go-micro's nats-js-kv store keeps a record: the key in the bucket is an encoding of Key.
type envelope struct {
	Key  string `json:"key"`
	Data []byte `json:"data"`
}

// service is what go-micro's registry keeps of one service at one node.
type service struct {
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Metadata map[string]string `json:"metadata"`
	Nodes    []serviceNode     `json:"nodes"`
}

type serviceNode struct {
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Metadata map[string]string `json:"metadata"`
}

// The metadata that a service's name and version become.
const (
	metadataService = "service"
	metadataVersion = "version"
)

// goMicro reads an entry of go-micro's registry: the node, the readable key, and the JSON in the envelope.
func goMicro(value []byte) (node discovery.Node, key string, content []byte, err error) {
	if err := check(value); err != nil {
		return node, "", nil, err
	}
	var e envelope
	if err := json.Unmarshal(value, &e); err != nil {
		return node, "", nil, notJSON("the envelope", err)
	}
	if err := check(e.Data); err != nil {
		return node, "", nil, err
	}
	var s service
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return node, "", nil, notJSON("data", err)
	}
	if len(s.Nodes) == 0 {
		return node, "", nil, broken(discovery.ReasonMissingNodeID, "nodes is empty, the first of them is expected to be the node")
	}
	return s.node(), e.Key, e.Data, nil
}

// node returns the node that the entry is: the first of the service's nodes, since each node writes an entry of its own.
func (s *service) node() discovery.Node {
	first := s.Nodes[0]
	all := make(map[string]string, len(s.Metadata)+len(first.Metadata)+2)
	maps.Copy(all, s.Metadata)
	maps.Copy(all, first.Metadata)
	if s.Name != "" {
		all[metadataService] = s.Name
	}
	if s.Version != "" {
		all[metadataVersion] = s.Version
	}
	return discovery.Node{ID: first.ID, Name: s.Name, Endpoint: first.Address, Metadata: all}
}
