package record

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// part is a part of a node that an expression can give.
type part struct {
	// field is where the expression stands in a NodeRegistry, source what it is there.
	field  string
	source func(*rollcallv1alpha1.Record) string
	// members are the members of Rollcall's own record that it replaces.
	members []string
	// kind is the type that the expression gives, expected the same in words.
	kind     *cel.Type
	expected string
	// apply sets the part of the node; the value is nil for null.
	apply func(*discovery.Node, ref.Val) error
}

// The fields of the parts that only inform.
const (
	fieldZone     = "spec.record.zone"
	fieldMetadata = "spec.record.metadata"
)

// parts are all parts, in the order of evaluation.
var parts = []part{
	{
		field: "spec.record.nodeID", source: func(r *rollcallv1alpha1.Record) string { return r.NodeID },
		members: []string{memberNodeID}, kind: cel.StringType, expected: "a string",
		apply: func(n *discovery.Node, v ref.Val) (err error) { n.ID, err = text(v); return err },
	},
	{
		field: "spec.record.addresses", source: func(r *rollcallv1alpha1.Record) string { return r.Addresses },
		members: []string{"Addresses"}, kind: cel.ListType(cel.StringType), expected: "a list of strings",
		apply: func(n *discovery.Node, v ref.Val) (err error) { n.Addresses, err = texts(v); return err },
	},
	{
		field: "spec.record.ports", source: func(r *rollcallv1alpha1.Record) string { return r.Ports },
		members: []string{"Ports"}, kind: cel.ListType(cel.MapType(cel.StringType, cel.DynType)),
		expected: "a list of maps with name, port and protocol",
		apply:    func(n *discovery.Node, v ref.Val) (err error) { n.Ports, err = ports(v); return err },
	},
	{
		field: fieldZone, source: func(r *rollcallv1alpha1.Record) string { return r.Zone },
		members: []string{"Zone"}, kind: cel.StringType, expected: "a string",
		apply: func(n *discovery.Node, v ref.Val) (err error) { n.Zone, err = text(v); return err },
	},
	{
		field: fieldMetadata, source: func(r *rollcallv1alpha1.Record) string { return r.Metadata },
		members: []string{"Metadata"}, kind: cel.MapType(cel.StringType, cel.DynType), expected: "a map of strings",
		apply: func(n *discovery.Node, v ref.Val) (err error) { n.Metadata, err = metadata(v); return err },
	},
}

// gives says whether an expression of that type may give the part. Where the type is known only at run time, it may.
func (p *part) gives(t *cel.Type) bool {
	if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" && len(t.Parameters()) == 1 {
		t = t.Parameters()[0]
	}
	return t.Kind() == types.NullTypeKind || fits(p.kind, t)
}

func fits(want, got *cel.Type) bool {
	if want.Kind() == types.DynKind || got.Kind() == types.DynKind || got.Kind() == types.TypeParamKind {
		return true
	}
	if want.Kind() != got.Kind() {
		return false
	}
	for i, parameter := range want.Parameters() {
		if i < len(got.Parameters()) && !fits(parameter, got.Parameters()[i]) {
			return false
		}
	}
	return true
}

func text(v ref.Val) (string, error) {
	if v == nil {
		return "", nil
	}
	if s, ok := v.(types.String); ok {
		return string(s), nil
	}
	return "", fmt.Errorf("it gives a value of the type %s, a string is expected", v.Type().TypeName())
}

// items calls yield for every item of a list, and stops at the first error.
func items(v ref.Val, yield func(index int, item ref.Val) error) error {
	if v == nil {
		return nil
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return fmt.Errorf("it gives a value of the type %s, a list is expected", v.Type().TypeName())
	}
	index := 0
	for it := list.Iterator(); it.HasNext() == types.True; index++ {
		if err := yield(index, unwrapped(it.Next())); err != nil {
			return err
		}
	}
	return nil
}

// members calls yield for every member of a map whose value is not null, and stops at the first error.
func members(v ref.Val, yield func(name string, value ref.Val) error) error {
	if v == nil {
		return nil
	}
	mapper, ok := v.(traits.Mapper)
	if !ok {
		return fmt.Errorf("it gives a value of the type %s, a map is expected", v.Type().TypeName())
	}
	for it := mapper.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return fmt.Errorf("a key of the map is of the type %s, a string is expected", key.Type().TypeName())
		}
		value := unwrapped(mapper.Get(key))
		if value == nil {
			continue
		}
		if err := yield(string(name), value); err != nil {
			return err
		}
	}
	return nil
}

func texts(v ref.Val) (all []string, err error) {
	err = items(v, func(index int, item ref.Val) error {
		s, ok := item.(types.String)
		if !ok {
			return fmt.Errorf("item %d of the list is of the type %s, a string is expected", index, typeName(item))
		}
		all = append(all, string(s))
		return nil
	})
	return all, err
}

func metadata(v ref.Val) (map[string]string, error) {
	all := map[string]string{}
	err := members(v, func(name string, value ref.Val) error {
		s, ok := scalar(value)
		if !ok {
			return fmt.Errorf("%.40q is of the type %s, a string, number or boolean is expected", name, typeName(value))
		}
		all[name] = s
		return nil
	})
	return all, err
}

// scalar returns a string, number or boolean as text.
func scalar(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case types.String:
		return string(v), true
	case types.Bool:
		return strconv.FormatBool(bool(v)), true
	case types.Int:
		return strconv.FormatInt(int64(v), 10), true
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), true
	case types.Double:
		return strconv.FormatFloat(float64(v), 'g', -1, 64), true
	}
	return "", false
}

func ports(v ref.Val) (all []discovery.Port, err error) {
	err = items(v, func(index int, item ref.Val) error {
		p, err := port(item)
		if err != nil {
			return fmt.Errorf("item %d of the list: %w", index, err)
		}
		all = append(all, p)
		return nil
	})
	return all, err
}

func port(v ref.Val) (p discovery.Port, err error) {
	found := false
	err = members(v, func(name string, value ref.Val) (err error) {
		switch name {
		case "name":
			p.Name, err = text(value)
		case "protocol":
			p.Protocol, err = text(value)
		case "port":
			found = true
			p.Port, err = number(value)
		default:
			return fmt.Errorf("a port has no %.40q, only name, port and protocol", name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("port is missing")
	}
	return p, err
}

// number returns the number of a port, however JSON or the expression spells it. Whether it is in range is for
// discovery.Node.Reach to say, except where an int can't hold it.
func number(v ref.Val) (int, error) {
	s, ok := scalar(v)
	if _, truth := v.(types.Bool); !ok || truth {
		return 0, fmt.Errorf("a value of the type %s is no number", typeName(v))
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, fmt.Errorf("%.20q is no whole number from 1 to 65535", s)
	}
	return int(f), nil
}

func typeName(v ref.Val) string {
	if v == nil {
		return "null"
	}
	return v.Type().TypeName()
}
