package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// Mapping reads the entries of a bucket as spec.record says. It is safe for concurrent use.
type Mapping struct {
	// Spec is the spec.record that the Mapping was made of.
	Spec        rollcallv1alpha1.Record
	expressions []compiledPart
}

// compiledPart is one compiled expression of spec.record.
type compiledPart struct {
	part    *part
	program *expression.Program
}

const variableKey, variableValue = "key", "value"

// environment returns the environment of all expressions over an entry.
var environment = sync.OnceValues(func() (*expression.Environment, error) {
	return expression.NewEnvironment(cel.Variable(variableKey, cel.StringType), cel.Variable(variableValue, cel.DynType))
})

// Compile returns the Mapping of spec.record. Its error is an *expression.Error for the first expression that does not
// compile or gives the wrong type.
func Compile(spec rollcallv1alpha1.Record) (*Mapping, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("make the environment of CEL expressions: %w", err)
	}
	m := &Mapping{Spec: spec}
	for i := range parts {
		source := parts[i].source(&spec)
		if source == "" {
			continue
		}
		program, err := env.Compile(parts[i].field, source, parts[i].expected, parts[i].gives)
		if err != nil {
			return nil, err
		}
		m.expressions = append(m.expressions, compiledPart{part: &parts[i], program: program})
	}
	return m, nil
}

// KeyHoldsID says whether a key is the prefix and the node ID, as it is for Rollcall's own record. Else the entry's
// content names the node.
func (m *Mapping) KeyHoldsID() bool {
	return m.Spec.Format != rollcallv1alpha1.FormatGoMicro && m.Spec.NodeID == ""
}

// plain returns true if the value is Rollcall's own record, and no expression replaces anything of it.
func (m *Mapping) plain() bool {
	return m.Spec.Format != rollcallv1alpha1.FormatGoMicro && len(m.expressions) == 0
}

// Read implements Reader.
func (m *Mapping) Read(key string, value []byte) Content {
	if m.plain() {
		return decode(value)
	}
	return m.read(key, value)
}

func (m *Mapping) read(key string, value []byte) (c Content) {
	micro := m.Spec.Format == rollcallv1alpha1.FormatGoMicro
	var record, content []byte // what the format says of the node, and what expressions see
	if micro {
		record, content, key, c.Err = c.goMicro(value)
	} else {
		content, c.Err = c.repair("the value", value)
		record = content
	}
	if c.Unread = c.Err != nil; c.Unread {
		return c
	}
	own := m.members(record)
	if own.Err == nil {
		own.Err = m.bare(c.Remarks)
	}
	if micro {
		own.Remarks, own.Err = renamed(own.Remarks, own.Err)
	}
	c.Node, c.Err, c.LeftOut = own.Node, own.Err, own.LeftOut
	c.doubt(c.Remarks)
	c.Remarks = append(c.Remarks, own.Remarks...)
	if c.Unread = unread(c.Err); c.Unread {
		return c
	}
	m.evaluate(&c, key, content)
	if c.Err == nil && c.Node.ID == "" {
		c.Err = broken(discovery.ReasonMissingNodeID, "the node ID is empty")
	}
	c.Remarks = ordered(c.Remarks)
	return c
}

// doubt says that something in the value could not be read as it stands, and so perhaps what a part comes from.
func (c *Content) doubt(remarks []discovery.Remark) {
	if slices.ContainsFunc(remarks, func(r discovery.Remark) bool { return r.Member != discovery.RemarkOnRecord }) {
		c.LeftOut = append(c.LeftOut, memberZone, memberMetadata)
	}
}

// bare refuses a needed text that was no JSON: what discovery.Repair made of it is a guess.
func (m *Mapping) bare(remarks []discovery.Remark) error {
	for _, r := range remarks {
		name, _, _ := strings.Cut(r.Member, "[")
		for _, member := range []string{memberNodeID, memberEndpoint, memberAddresses} {
			if (strings.EqualFold(name, member) || r.Member == microNames[member]) && !m.replaces(member) {
				return broken(discovery.ReasonWrongShape, "%s isn't JSON, a string is expected", r.Member)
			}
		}
	}
	return nil
}

// evaluate puts what the expressions give into the node. Each of them is evaluated, also after one that fails.
func (m *Mapping) evaluate(c *Content, key string, content []byte) {
	if len(m.expressions) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		c.Err = cmp.Or(c.Err, wrongShape("the value", err))
		return
	}
	value, remarks := expression.Visible(value)
	c.doubt(remarks)
	c.Remarks = append(c.Remarks, remarks...)
	for _, e := range m.expressions {
		result, err := e.program.Evaluate(map[string]any{variableKey: key, variableValue: value})
		if err == nil {
			err = e.part.apply(c, result)
		}
		if err != nil {
			c.fail(e.part, err)
		}
	}
}

// fail says that a part can't be read. Without one that only informs the record is good.
func (c *Content) fail(p *part, err error) {
	c.Failing = append(c.Failing, p.field)
	if p.informs {
		c.leave(p.member, p.field, expression.Plain("fails: "+err.Error(), expression.MaxDetail))
	} else if c.Err == nil {
		c.Err = expression.Failed(p.field, err)
	}
}

// leave says that a member, or something of it, was left out since the expression of that field does not give it.
func (c *Content) leave(member, field, detail string) {
	c.LeftOut = append(c.LeftOut, member)
	c.Remarks = append(c.Remarks, discovery.Remark{Member: field, Detail: detail})
}
