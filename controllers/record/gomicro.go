package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// envelope is how go-micro's nats-js-kv store keeps a record: the key in the bucket is an encoding of Key.
type envelope struct {
	Key  any    `json:"key"`
	Data []byte `json:"data"`
}

// service is what go-micro's registry keeps of one service at one node. Each node writes an entry of its own.
type service struct {
	Name     json.RawMessage   `json:"name"`
	Version  json.RawMessage   `json:"version"`
	Metadata json.RawMessage   `json:"metadata"`
	Nodes    []json.RawMessage `json:"nodes"`
}

type serviceNode struct {
	ID       json.RawMessage `json:"id"`
	Address  json.RawMessage `json:"address"`
	Metadata json.RawMessage `json:"metadata"`
}

// microNames are go-micro's names of the members that are needed.
var microNames = map[string]string{memberNodeID: "nodes[0].id", memberEndpoint: "nodes[0].address"}

// goMicro reads an entry of go-micro's registry. It returns the members of a record of Rollcall that says the same, the
// JSON in the envelope, and the readable key.
func (c *Content) goMicro(value []byte) (record, content []byte, key string, err error) {
	var e envelope
	if _, err = c.object("the envelope", value, &e); err != nil {
		return nil, nil, "", err
	}
	key, _ = e.Key.(string)
	var s service
	if content, err = c.object("data", e.Data, &s); err != nil {
		return nil, nil, "", err
	}
	record, err = s.record(c)
	return record, content, key, err
}

// record returns the record of the first of the service's nodes. discovery.Decode reads it, and with it all that is odd.
func (s *service) record(c *Content) ([]byte, error) {
	if len(s.Nodes) == 0 {
		return nil, broken(discovery.ReasonMissingNodeID, "nodes is empty, the first of them is expected to be the node")
	}
	var first serviceNode
	if err := json.Unmarshal(s.Nodes[0], &first); err != nil {
		return nil, wrongShape("nodes[0]", err)
	}
	s.unread(c)
	all := map[string]json.RawMessage{}
	for _, metadata := range []json.RawMessage{s.Metadata, first.Metadata} {
		var some map[string]json.RawMessage
		if len(metadata) > 0 && json.Unmarshal(metadata, &some) != nil {
			c.Remarks = append(c.Remarks, discovery.Remark{Member: "metadata", Detail: "is no object: left out", LeftOut: true})
		}
		maps.Copy(all, some)
	}
	for name, text := range map[string]json.RawMessage{"service": s.Name, "version": s.Version} {
		if len(text) > 0 && string(text) != `""` {
			all[name] = text
		}
	}
	text, err := json.Marshal(map[string]any{memberNodeID: first.ID, "Name": s.Name, memberEndpoint: first.Address, memberMetadata: all})
	if err != nil {
		return nil, wrongShape("data", err)
	}
	return text, nil
}

// unread remarks on the nodes that are not the first.
func (s *service) unread(c *Content) {
	if len(s.Nodes) == 1 {
		return
	}
	var others []string
	for _, other := range s.Nodes[1:] {
		var node serviceNode
		_ = json.Unmarshal(other, &node) // one that is no object has no ID
		others = append(others, strings.Trim(string(node.ID), `"`))
	}
	c.Remarks = append(c.Remarks, discovery.Remark{Member: "nodes", Detail: fmt.Sprintf("has %d of them, the first is read and not %s", len(s.Nodes), listed(others))})
}

// renamed returns what discovery.Decode says of such a record with go-micro's names of the members.
func renamed(remarks []discovery.Remark, err error) ([]discovery.Remark, error) {
	for i := range remarks {
		remarks[i].Member = strings.ToLower(remarks[i].Member[:1]) + remarks[i].Member[1:]
	}
	if wrong, ok := errors.AsType[*discovery.RecordError](err); ok {
		for member, name := range microNames {
			if rest, found := strings.CutPrefix(wrong.Detail, member+" "); found {
				return remarks, broken(wrong.Reason, "%s %s", name, rest)
			}
		}
	}
	return remarks, err
}
