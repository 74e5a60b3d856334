package record

import (
	"github.com/google/cel-go/cel"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// Mapping reads the entries of a bucket as spec.record says. It is safe for concurrent use.
type Mapping struct {
	spec        rollcallv1alpha1.Record
	expressions []expression
}

// variables are what an expression sees.
type variables struct {
	key   string
	value any
}

// expression is one compiled expression of spec.record.
type expression struct {
	part    *part
	program cel.Program
}

// Compile returns the Mapping of spec.record. Its error is an *ExpressionError for the first expression that does not
// compile or gives the wrong type.
func Compile(spec rollcallv1alpha1.Record) (*Mapping, error) {
	m := &Mapping{spec: spec}
	for i := range parts {
		source := parts[i].source(&spec)
		if source == "" {
			continue
		}
		program, err := compile(&parts[i], source)
		if err != nil {
			return nil, err
		}
		m.expressions = append(m.expressions, expression{part: &parts[i], program: program})
	}
	return m, nil
}

// Spec returns what the Mapping was compiled from.
func (m *Mapping) Spec() rollcallv1alpha1.Record { return m.spec }

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
	c.Node, c.Err = m.read(key, value)
	c.Unread = unread(c.Err)
	return c
}

func (m *Mapping) read(key string, value []byte) (discovery.Node, error) {
	node, v, err := m.decode(key, value)
	if err != nil {
		return discovery.Node{}, err
	}
	if err := m.evaluate(&node, v); err != nil {
		return discovery.Node{}, err
	}
	if node.ID == "" {
		return discovery.Node{}, broken(discovery.ReasonMissingNodeID, "the node ID is empty")
	}
	return node, nil
}

// decode returns the node as the format reads it, and the variables of the expressions.
func (m *Mapping) decode(key string, value []byte) (discovery.Node, variables, error) {
	content := value
	var node discovery.Node
	var err error
	if m.spec.Format == rollcallv1alpha1.FormatGoMicro {
		node, key, content, err = goMicro(value)
	} else if err = check(content); err == nil {
		node, err = m.own(content)
	}
	if err != nil || len(m.expressions) == 0 {
		return node, variables{}, err
	}
	json, err := decodeAny(content)
	return node, variables{key: key, value: json}, err
}

func (m *Mapping) evaluate(node *discovery.Node, v variables) error {
	if len(m.expressions) == 0 {
		return nil
	}
	for _, e := range m.expressions {
		result, err := evaluate(e.program, map[string]any{variableKey: v.key, variableValue: v.value})
		if err != nil {
			return failed(e.part, err)
		}
		if err := e.part.apply(node, result); err != nil {
			return failed(e.part, err)
		}
	}
	return nil
}
