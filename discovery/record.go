package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"time"
)

// record is the JSON form of a Node. Member names are PascalCase because the fleets that exist write .NET's default JSON
// and read it case-sensitively; NodeId, Endpoint and LastSeen are always written because those readers require them.
type record struct {
	NodeID    string            `json:"NodeId"`
	Name      string            `json:"Name,omitempty"`
	Endpoint  string            `json:"Endpoint"`
	Addresses []string          `json:"Addresses,omitempty"`
	Ports     []recordPort      `json:"Ports,omitempty"`
	Zone      string            `json:"Zone,omitempty"`
	Metadata  map[string]string `json:"Metadata,omitempty"`
	Load      *float64          `json:"Load,omitempty"`
	LastSeen  timestamp         `json:"LastSeen"`
	Draining  bool              `json:"Draining,omitempty"`
	Owner     *recordOwner      `json:"Owner,omitempty"`
}

type recordPort struct {
	Name     string `json:"Name,omitempty"`
	Port     int    `json:"Port"`
	Protocol string `json:"Protocol,omitempty"`
}

type recordOwner struct {
	Cluster      string `json:"Cluster"`
	UID          string `json:"UID"`
	Registration string `json:"Registration,omitempty"`
}

// Decode reads a record. Names of members are read without regard to case, null means absent, and unknown members are
// ignored. A LastSeen without a zone is UTC.
//
// What is needed is NodeId, and Endpoint or Addresses and Ports. A member of these that is of another type or form refuses
// the record, except for an Endpoint besides Addresses and Ports. All others inform: what is odd about them is read as well
// as it can be, else left out, and the remarks say so. That an Owner can't be read is told by an empty UID, see [Owner]. A
// value that isn't JSON is read as [Repair] does, with the same distinction.
//
// Decode never panics, and its time is linear in the length of the value. Its errors are [*RecordError] with one of
// [ReasonEmpty], [ReasonNotJSON], [ReasonNotObject], [ReasonWrongShape] and [ReasonMissingNodeID]; with the last two the
// node is what could be read nevertheless, Draining above all. It doesn't look at whether the node can be reached: that is
// [Node.Reach].
func Decode(value []byte) (Node, []Remark, error) {
	r := readPlain(value) // That is what a heartbeat costs.
	if r == nil {
		r = strict(value)
	}
	var found remarks
	var refusal error
	if r == nil {
		r, found, refusal = lenient(value)
	}
	if refusal == nil && r.NodeID == "" {
		refusal = recordError(ReasonMissingNodeID, "NodeId is missing, a string that names the node is expected")
	}
	r.judge(&found)
	return r.node(), found.limited(), refusal
}

// strict reads a record that is as it should be, and returns nil for another one.
func strict(value []byte) *record {
	trimmed := bytes.TrimSpace(value)
	var r record
	if len(trimmed) == 0 || trimmed[0] != '{' || json.Unmarshal(trimmed, &r) != nil {
		return nil
	}
	if len(r.Metadata) > 0 && bytes.Contains(trimmed, []byte("null")) {
		for _, v := range r.Metadata {
			if v == "" { // It may be null, which means that there is no such entry.
				return nil
			}
		}
	}
	return &r
}

// reached reports whether the record says where its node is without Endpoint.
func (r *record) reached() bool { return len(r.Addresses) > 0 && len(r.Ports) > 0 }

// judge remarks on what has the right form.
func (r *record) judge(found *remarks) {
	if r.Owner != nil && r.Owner.UID == "" && !found.tell("Owner") {
		found.add("Owner", "has no UID, the entry counts as somebody else's")
	}
	if r.Endpoint != "" && r.reached() {
		if _, _, err := parseEndpoint(r.Endpoint); err != nil {
			found.add("Endpoint", "is neither a URL with a host nor host:port, or has a user; it isn't needed besides Addresses and Ports")
		}
	}
}

func decodeError(err error) error {
	if shape, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if shape.Field == "" {
			return recordError(ReasonNotObject, "the value is a JSON %s, an object is expected", shape.Value)
		}
		return recordError(ReasonWrongShape, "%s can't be a JSON %s, %s is expected", shape.Field, shape.Value, expected(shape))
	}
	if re, ok := errors.AsType[*RecordError](err); ok {
		return re
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return recordError(ReasonNotJSON, "the JSON ends too early")
	}
	return recordError(ReasonNotJSON, "the value isn't JSON: %v", err)
}

// expected says in JSON's words what the member should have been.
func expected(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

func (r *record) node() Node {
	n := Node{
		ID: r.NodeID, Name: r.Name, Endpoint: r.Endpoint, Addresses: r.Addresses, Zone: r.Zone, Metadata: r.Metadata,
		Load: r.Load, LastSeen: time.Time(r.LastSeen), Draining: r.Draining,
	}
	for _, p := range r.Ports {
		n.Ports = append(n.Ports, Port(p))
	}
	if r.Owner != nil {
		n.Owner = &Owner{Cluster: r.Owner.Cluster, UID: r.Owner.UID, Registration: r.Owner.Registration}
	}
	return n
}

// Encode writes the record of n: a JSON object with the members of Node, NodeId for ID, whose names are PascalCase.
// LastSeen is written in UTC, to the 100 ns that .NET knows. The errors are [*RecordError]: [ReasonMissingNodeID] for an
// empty ID, [ReasonWrongShape] for a Load that isn't finite or a LastSeen outside the years 1 to 9999.
func Encode(n Node) ([]byte, error) {
	if n.ID == "" {
		return nil, recordError(ReasonMissingNodeID, "the node has no ID, set Node.ID")
	}
	if n.Load != nil && (math.IsNaN(*n.Load) || math.IsInf(*n.Load, 0)) {
		return nil, recordError(ReasonWrongShape, "Load is %v, a finite number is expected", *n.Load)
	}
	if y := n.LastSeen.UTC().Year(); y < 1 || y > 9999 {
		return nil, recordError(ReasonWrongShape, "LastSeen is in the year %d, a year from 1 to 9999 is expected", y)
	}
	r := record{
		NodeID: n.ID, Name: n.Name, Endpoint: n.Endpoint, Addresses: n.Addresses, Zone: n.Zone, Metadata: n.Metadata,
		Load: n.Load, LastSeen: timestamp(n.LastSeen), Draining: n.Draining,
	}
	for _, p := range n.Ports {
		r.Ports = append(r.Ports, recordPort(p))
	}
	if n.Owner != nil {
		r.Owner = &recordOwner{Cluster: n.Owner.Cluster, UID: n.Owner.UID, Registration: n.Owner.Registration}
	}
	return json.Marshal(r)
}
