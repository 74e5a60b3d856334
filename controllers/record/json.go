package record

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// maxDepth is the greatest depth to which the JSON of a foreign entry may be nested. It is decoded as a whole, unlike
// Rollcall's own record, of which only the members are.
const maxDepth = 100

// repair returns the JSON of a value as discovery.Repair reads it, unless it is too deep.
func (c *Content) repair(what string, value []byte) ([]byte, error) {
	text, remarks, err := discovery.Repair(value)
	if deeper(value, maxDepth) || err == nil && deeper(text, maxDepth) {
		return nil, broken(ReasonTooDeep, "%s is nested more than %d deep", what, maxDepth)
	}
	if wrong, ok := errors.AsType[*discovery.RecordError](err); ok {
		return nil, broken(wrong.Reason, "%s: %s", what, wrong.Detail)
	}
	c.Remarks = append(c.Remarks, remarks...)
	return text, err
}

// object reads an object, and returns its JSON.
func (c *Content) object(what string, value []byte, into any) ([]byte, error) {
	text, err := c.repair(what, value)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, wrongShape(what, err)
	}
	return text, nil
}

// deeper returns true if JSON is nested more than so deep. What it says of something else is of no meaning.
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

// wrongShape returns the error for JSON that encoding/json could not decode.
func wrongShape(what string, err error) error {
	if shape, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && shape.Field != "" {
		return broken(discovery.ReasonWrongShape, "%s: %s can't be a JSON %s", what, shape.Field, shape.Value)
	} else if ok {
		return broken(discovery.ReasonWrongShape, "%s is a JSON %s, an object is expected", what, shape.Value)
	}
	return broken(discovery.ReasonNotJSON, "%s isn't JSON: %v", what, err)
}

const memberNodeID, memberEndpoint, memberAddresses, memberZone, memberMetadata = "NodeId", "Endpoint", "Addresses", "Zone", "Metadata"

// someID stands where an expression gives the node ID.
var someID = json.RawMessage(`"-"`)

// members reads what the members of Rollcall's own record say of a node, except for what an expression replaces. Of a foreign
// record, one whose node ID is an expression's, a member that means something else there is left out without a remark.
func (m *Mapping) members(text []byte) (c Content) {
	foreign := m.Spec.NodeID != ""
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil || all == nil {
		if !foreign {
			c = decode(text) // It says what is wrong.
		}
		return c
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return m.replaces(name) })
	if foreign {
		all[memberNodeID] = someID
	}
	c = readMembers(all)
	if foreign && m.Spec.Format != rollcallv1alpha1.FormatGoMicro && len(c.Remarks) > 0 {
		left := c.LeftOut
		maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return odd(c.Remarks, name) })
		c = readMembers(all)
		c.Remarks, c.LeftOut = nil, left
	}
	if foreign {
		c.Node.ID = ""
	}
	return c
}

func readMembers(all map[string]json.RawMessage) Content {
	text, err := json.Marshal(all)
	if err != nil {
		return Content{Err: wrongShape("the value", err)}
	}
	return decode(text)
}

// odd returns true if there is a remark on a member. What is in Metadata may be anything.
func odd(remarks []discovery.Remark, member string) bool {
	return slices.ContainsFunc(remarks, func(r discovery.Remark) bool {
		name, _, inside := strings.Cut(r.Member, ".")
		return strings.EqualFold(name, member) && (!inside || name != memberMetadata)
	})
}

// replaces returns true if expressions replace a member of the record. Endpoint gives both addresses and ports.
func (m *Mapping) replaces(member string) bool {
	if strings.EqualFold(member, memberEndpoint) {
		return m.Spec.Addresses != "" && m.Spec.Ports != ""
	}
	return slices.ContainsFunc(m.expressions, func(e compiledPart) bool { return strings.EqualFold(member, e.part.member) })
}
