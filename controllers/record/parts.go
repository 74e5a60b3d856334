package record

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// part is a part of a node that an expression can give.
type part struct {
	// field is where the expression stands in a NodeRegistry, source what it is there.
	field  string
	source func(*rollcallv1alpha1.Record) string
	// member is the member of Rollcall's own record that it replaces.
	member string
	// informs is true for a part without which there is a node all the same.
	informs bool
	// kind is the type that the expression gives, expected the same in words.
	kind     *cel.Type
	expected string
	// apply sets the part of the node; the value is nil for null. It returns the names of what it had to leave out.
	apply func(*discovery.Node, ref.Val) (left []string, err error)
}

// parts are all parts, in the order of evaluation.
var parts = []part{
	{
		field: "spec.record.nodeID", source: func(r *rollcallv1alpha1.Record) string { return r.NodeID },
		member: memberNodeID, kind: cel.StringType, expected: "a string",
		apply: func(n *discovery.Node, v ref.Val) (_ []string, err error) {
			n.ID, err = text(v, rollcallv1alpha1.MaxKeyLength)
			return nil, err
		},
	},
	{
		field: "spec.record.addresses", source: func(r *rollcallv1alpha1.Record) string { return r.Addresses },
		member: "Addresses", kind: cel.ListType(cel.StringType), expected: "a list of strings",
		apply: func(n *discovery.Node, v ref.Val) (_ []string, err error) {
			n.Addresses, err = addresses(v)
			return nil, err
		},
	},
	{
		field: "spec.record.ports", source: func(r *rollcallv1alpha1.Record) string { return r.Ports },
		member: "Ports", kind: cel.ListType(cel.MapType(cel.StringType, cel.DynType)),
		expected: "a list of maps with name, port and protocol",
		apply: func(n *discovery.Node, v ref.Val) (_ []string, err error) {
			n.Ports, err = ports(v)
			return nil, err
		},
	},
	{
		field: "spec.record.zone", source: func(r *rollcallv1alpha1.Record) string { return r.Zone },
		member: memberZone, informs: true, kind: cel.StringType, expected: "a string",
		apply: func(n *discovery.Node, v ref.Val) (_ []string, err error) {
			n.Zone, err = text(v, rollcallv1alpha1.MaxZoneLength)
			return nil, err
		},
	},
	{
		field: "spec.record.metadata", source: func(r *rollcallv1alpha1.Record) string { return r.Metadata },
		member: memberMetadata, informs: true, kind: cel.MapType(cel.StringType, cel.DynType), expected: "a map of strings",
		apply: func(n *discovery.Node, v ref.Val) (left []string, err error) {
			n.Metadata, left, err = metadata(v)
			return left, err
		},
	},
}

// gives returns true if an expression of that type may give the part. Where the type is known only at run time, it may.
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

// text returns a string of at most so many characters.
func text(v ref.Val, most int) (string, error) {
	if v == nil {
		return "", nil
	}
	s, ok := v.(types.String)
	switch {
	case !ok:
		return "", fmt.Errorf("it gives a value of the type %s, a string is expected", typeName(v))
	case utf8.RuneCountInString(string(s)) > most:
		return "", fmt.Errorf("it gives more than %d characters", most)
	}
	return string(s), nil
}

// items calls yield for every item of a list, and stops at the first error.
func items(v ref.Val, most int, yield func(index int, item ref.Val) error) error {
	if v == nil {
		return nil
	}
	list, ok := v.(traits.Lister)
	switch {
	case !ok:
		return fmt.Errorf("it gives a value of the type %s, a list is expected", typeName(v))
	case expression.SizeOf(list) > most:
		return fmt.Errorf("it gives more than %d items", most)
	}
	index := 0
	for it := list.Iterator(); it.HasNext() == types.True; index++ {
		if err := yield(index, expression.Unwrapped(it.Next())); err != nil {
			return err
		}
	}
	return nil
}

// members calls yield for every member of a map whose value is not null, and stops at the first error.
func members(v ref.Val, most int, yield func(name string, value ref.Val) error) error {
	if v == nil {
		return nil
	}
	mapper, ok := v.(traits.Mapper)
	switch {
	case !ok:
		return fmt.Errorf("it gives a value of the type %s, a map is expected", typeName(v))
	case expression.SizeOf(mapper) > most:
		return fmt.Errorf("it gives more than %d members", most)
	}
	for it := mapper.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return fmt.Errorf("a key of the map is of the type %s, a string is expected", typeName(key))
		}
		value := expression.Unwrapped(mapper.Get(key))
		if value == nil {
			continue
		}
		if err := yield(string(name), value); err != nil {
			return err
		}
	}
	return nil
}

func addresses(v ref.Val) (all []string, err error) {
	err = items(v, rollcallv1alpha1.MaxAddresses, func(index int, item ref.Val) error {
		s, ok := item.(types.String)
		switch {
		case !ok:
			return fmt.Errorf("item %d of the list is of the type %s, a string is expected", index, typeName(item))
		case len(s) > rollcallv1alpha1.MaxAddressLength:
			return fmt.Errorf("item %d of the list has more than %d bytes", index, rollcallv1alpha1.MaxAddressLength)
		}
		all = append(all, string(s))
		return nil
	})
	return all, err
}

// metadata returns what can be text, and the names of what can't, sorted.
func metadata(v ref.Val) (all map[string]string, left []string, err error) {
	all = map[string]string{}
	size := 0
	err = members(v, rollcallv1alpha1.MaxMetadataEntries, func(name string, value ref.Val) error {
		s, ok := scalar(value)
		if !ok {
			left = append(left, name)
			return nil
		}
		if size += len(name) + len(s); size > expression.MaxText {
			return fmt.Errorf("it gives more than %d bytes", expression.MaxText)
		}
		all[name] = s
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(left)
	return all, left, nil
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
	err = items(v, rollcallv1alpha1.MaxPorts, func(index int, item ref.Val) error {
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
	err = members(v, expression.MaxText, func(name string, value ref.Val) (err error) {
		switch name {
		case "name":
			p.Name, err = text(value, expression.MaxString)
		case "protocol":
			p.Protocol, err = text(value, expression.MaxString)
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
		return 0, fmt.Errorf("a %s that is no whole number from 1 to 65535", typeName(v))
	}
	return int(f), nil
}

func typeName(v ref.Val) string {
	if v == nil {
		return "null"
	}
	return v.Type().TypeName()
}
