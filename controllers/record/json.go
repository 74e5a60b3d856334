package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// maxDepth is the greatest depth to which the JSON of a foreign entry may be nested. It is decoded as a whole, unlike
// Rollcall's own record, of which only the members are.
const maxDepth = 100

// check says what is wrong with a value before it is decoded: that it is empty, or too deep.
func check(value []byte) error {
	if len(bytes.TrimSpace(value)) == 0 {
		return broken(discovery.ReasonEmpty, "the value is empty, JSON is expected")
	}
	if deeper(value, maxDepth) {
		return broken(ReasonTooDeep, "the JSON is nested more than %d deep", maxDepth)
	}
	return nil
}

// deeper says whether JSON is nested more than so deep. What it says of something else is of no meaning.
func deeper(value []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			if depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// notJSON returns the error for a value that encoding/json could not decode.
func notJSON(what string, err error) error {
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &shape) && shape.Field == "":
		return broken(discovery.ReasonWrongShape, "%s is a JSON %s, an object is expected", what, shape.Value)
	case errors.As(err, &shape):
		return broken(discovery.ReasonWrongShape, "%s: %s can't be a JSON %s", what, shape.Field, shape.Value)
	}
	return broken(discovery.ReasonNotJSON, "%s isn't JSON: %v", what, err)
}

// decodeAny decodes JSON for CEL, with integers as integers.
func decodeAny(value []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, notJSON("the value", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, broken(discovery.ReasonNotJSON, "the value isn't JSON: something follows its end")
	}
	return numbered(decoded)
}

// numbered turns the numbers in decoded JSON into int64 or, where that can't hold them, float64.
func numbered(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, broken(discovery.ReasonWrongShape, "the number %.20s is out of range", v.String())
		}
		return f, nil
	case []any:
		for i := range v {
			if v[i], err = numbered(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = numbered(v[name]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// optional are the members of Rollcall's own record that no expression replaces and no node needs.
var optional = []string{"Name", "Load", "LastSeen", "Draining", "Owner"}

// own reads what Rollcall's own record says of a node, except for what an expression replaces. Of a foreign record, one
// whose node ID is an expression's, a member that means something else there is left out.
func (m *Mapping) own(value []byte) (discovery.Node, error) {
	foreign := m.spec.NodeID != ""
	if foreign && bytes.TrimSpace(value)[0] != '{' {
		return discovery.Node{}, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil {
		return discovery.Node{}, notJSON("the value", err)
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return m.replaces(name) })
	if !foreign {
		node, _, err := decodeMembers(all)
		return node, err
	}
	all[memberNodeID] = someID
	node, remarks, err := decodeMembers(all)
	if err != nil || len(remarks) > 0 {
		maps.DeleteFunc(all, func(name string, value json.RawMessage) bool { return is(name, optional) && !fitsAlone(name, value) })
		node, _, err = decodeMembers(all)
	}
	return node, err
}

// memberNodeID is the member that every record needs, and someID what stands there for an expression's result.
const memberNodeID = "NodeId"

var someID = json.RawMessage(`"-"`)

// replaces says whether expressions replace a member of the record. Endpoint gives both addresses and ports.
func (m *Mapping) replaces(member string) bool {
	if is(member, []string{"Endpoint"}) {
		return m.spec.Addresses != "" && m.spec.Ports != ""
	}
	return slices.ContainsFunc(m.expressions, func(e expression) bool { return is(member, e.part.members) })
}

// is says whether a member has one of the names, in any case, as encoding/json reads them.
func is(member string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(member, name) })
}

func decodeMembers(all map[string]json.RawMessage) (discovery.Node, []discovery.Remark, error) {
	value, err := json.Marshal(all)
	if err != nil {
		return discovery.Node{}, nil, notJSON("the value", err)
	}
	return discovery.Decode(value)
}

func fitsAlone(name string, value json.RawMessage) bool {
	_, remarks, err := decodeMembers(map[string]json.RawMessage{memberNodeID: someID, name: value})
	return err == nil && len(remarks) == 0
}
