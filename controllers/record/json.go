package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// maxDepth is the greatest depth to which the JSON of a foreign entry may be nested. It is decoded as a whole, unlike
// Rollcall's own record, of which only the members are.
const maxDepth = 100

// repaired returns the JSON of a value as discovery.Repair reads it, unless it is too deep.
func repaired(what string, value []byte) ([]byte, []discovery.Remark, error) {
	text, remarks, err := discovery.Repair(value)
	if deeper(value, maxDepth) || err == nil && deeper(text, maxDepth) {
		return nil, nil, broken(ReasonTooDeep, "%s is nested more than %d deep", what, maxDepth)
	}
	if wrong, ok := errors.AsType[*discovery.RecordError](err); ok {
		return nil, nil, broken(wrong.Reason, "%s: %s", what, wrong.Detail)
	}
	return text, remarks, err
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

// decodeAny decodes valid JSON for CEL.
func decodeAny(value []byte) (any, []discovery.Remark, error) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, nil, wrongShape("the value", err)
	}
	seen, remarks := expression.Visible(decoded)
	return seen, remarks, nil
}

const memberNodeID, memberEndpoint, memberZone, memberMetadata = "NodeId", "Endpoint", "Zone", "Metadata"

// someID stands where an expression gives the node ID.
var someID = json.RawMessage(`"-"`)

// own reads what the members of Rollcall's own record say of a node, except for what an expression replaces. Of a foreign
// record, one whose node ID is an expression's, a member that means something else there is left out without a remark.
func (m *Mapping) own(text []byte) (c Content) {
	anonymous := m.spec.NodeID != ""
	if text[0] != '{' {
		if !anonymous {
			c = codec{}.Read("", text)
		}
		return c
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		c.Err = wrongShape("the value", err)
		return c
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return m.replaces(name) })
	if anonymous {
		all[memberNodeID] = someID
	}
	c = readMembers(all)
	if anonymous && m.spec.Format != rollcallv1alpha1.FormatGoMicro && len(c.Remarks) > 0 {
		left := c.LeftOut
		maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return odd(c.Remarks, name) })
		c = readMembers(all)
		c.Remarks, c.LeftOut = nil, left
	}
	if anonymous {
		c.Node.ID = ""
	}
	return c
}

func readMembers(all map[string]json.RawMessage) (c Content) {
	text, err := json.Marshal(all)
	if err != nil {
		c.Err = wrongShape("the value", err)
		return c
	}
	return codec{}.Read("", text)
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
		return m.spec.Addresses != "" && m.spec.Ports != ""
	}
	return slices.ContainsFunc(m.expressions, func(e compiledPart) bool { return strings.EqualFold(member, e.part.member) })
}
