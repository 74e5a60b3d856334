package record

import (
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// Mapping reads the entries of a bucket as spec.record says. It is safe for concurrent use.
type Mapping struct {
	spec        rollcallv1alpha1.Record
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
	m := &Mapping{spec: spec}
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
	return m.spec.Format != rollcallv1alpha1.FormatGoMicro && m.spec.NodeID == ""
}

// Read implements Reader.
func (m *Mapping) Read(key string, value []byte) (c Content) {
	if m.spec.Format != rollcallv1alpha1.FormatGoMicro && len(m.expressions) == 0 {
		return codec{}.Read(key, value)
	}
	content, key, err := m.decode(&c, key, value)
	if c.Err = err; content == nil || unread(err) {
		c.Unread = true
		return c
	}
	m.evaluate(&c, key, content)
	if c.Err == nil && c.Node.ID == "" {
		c.Err = broken(discovery.ReasonMissingNodeID, "the node ID is empty")
	}
	c.Remarks = ordered(c.Remarks)
	return c
}

// decode reads what the format says of the node, and returns the JSON and the key that the expressions see. The JSON is nil
// where there is none.
func (m *Mapping) decode(c *Content, key string, value []byte) ([]byte, string, error) {
	var record, content []byte
	var err error
	if m.spec.Format == rollcallv1alpha1.FormatGoMicro {
		record, content, key, c.Remarks, err = goMicro(value)
	} else {
		content, c.Remarks, err = repaired("the value", value)
		record = content
	}
	if err != nil {
		return nil, key, err
	}
	own := m.own(record)
	if own.Err == nil {
		own.Err = m.bare(c.Remarks)
	}
	if m.spec.Format == rollcallv1alpha1.FormatGoMicro {
		own.Remarks, own.Err = renamed(own.Remarks, own.Err)
	}
	c.Node, c.LeftOut = own.Node, own.LeftOut
	c.doubt(c.Remarks)
	c.Remarks = append(c.Remarks, own.Remarks...)
	return content, key, own.Err
}

// doubt says that something in the value could not be read as it stands, and so perhaps what a part comes from.
func (c *Content) doubt(remarks []discovery.Remark) {
	for _, r := range remarks {
		if r.Member != discovery.RemarkOnRecord {
			c.LeftOut = append(c.LeftOut, memberZone, memberMetadata)
			return
		}
	}
}

// bare refuses a needed text that was no JSON: what discovery.Repair made of it is a guess.
func (m *Mapping) bare(remarks []discovery.Remark) error {
	for _, r := range remarks {
		name, _, _ := strings.Cut(r.Member, "[")
		for member, micro := range map[string]string{memberNodeID: "nodes[0].id", memberEndpoint: "nodes[0].address", "Addresses": ""} {
			if (strings.EqualFold(name, member) || r.Member == micro) && !m.replaces(member) {
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
	value, remarks, err := decodeAny(content)
	if err != nil {
		if c.Err == nil {
			c.Err = err
		}
		return
	}
	c.doubt(remarks)
	c.Remarks = append(c.Remarks, remarks...)
	for _, e := range m.expressions {
		result, err := e.program.Evaluate(map[string]any{variableKey: key, variableValue: value})
		var left []string
		if err == nil {
			left, err = e.part.apply(&c.Node, result)
		}
		if len(left) > 0 {
			c.Remarks = append(c.Remarks, discovery.Remark{Member: e.part.field, Detail: "gives no string, number or boolean for " + listed(left) + ": left out"})
			c.LeftOut = append(c.LeftOut, e.part.member)
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
		c.LeftOut = append(c.LeftOut, p.member)
		c.Remarks = append(c.Remarks, discovery.Remark{Member: p.field, Detail: expression.Plain("fails: "+err.Error(), expression.MaxDetail)})
	} else if c.Err == nil {
		c.Err = expression.Failed(p.field, err)
	}
}
