package record

import (
	"errors"
	"fmt"
	"maps"
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
	// apply takes over the part; the value is nil for null.
	apply func(*Content, ref.Val) error
}

// parts are all parts, in the order of evaluation.
var parts = []part{
	{
		field: "spec.record.nodeID", source: func(r *rollcallv1alpha1.Record) string { return r.NodeID },
		member: memberNodeID, kind: cel.StringType, expected: "a string",
		apply: func(c *Content, v ref.Val) error { return text(v, rollcallv1alpha1.MaxKeyLength, &c.Node.ID) },
	},
	{
		field: "spec.record.addresses", source: func(r *rollcallv1alpha1.Record) string { return r.Addresses },
		member: memberAddresses, kind: cel.ListType(cel.StringType), expected: "a list of strings",
		apply: func(c *Content, v ref.Val) error {
			return items(v, rollcallv1alpha1.MaxAddresses, &c.Node.Addresses, address)
		},
	},
	{
		field: "spec.record.ports", source: func(r *rollcallv1alpha1.Record) string { return r.Ports },
		member: "Ports", kind: cel.ListType(cel.MapType(cel.StringType, cel.DynType)), expected: "a list of maps with name, port and protocol",
		apply: func(c *Content, v ref.Val) error { return items(v, rollcallv1alpha1.MaxPorts, &c.Node.Ports, port) },
	},
	{
		field: "spec.record.zone", source: func(r *rollcallv1alpha1.Record) string { return r.Zone },
		member: memberZone, informs: true, kind: cel.StringType, expected: "a string",
		apply: func(c *Content, v ref.Val) error { return text(v, rollcallv1alpha1.MaxZoneLength, &c.Node.Zone) },
	},
	{
		field: "spec.record.metadata", source: func(r *rollcallv1alpha1.Record) string { return r.Metadata },
		member: memberMetadata, informs: true, kind: cel.MapType(cel.StringType, cel.DynType), expected: "a map of strings",
		apply: metadata,
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

// text takes over a string of at most so many characters.
func text(v ref.Val, most int, into *string) error {
	if v == nil {
		return nil
	}
	s, ok := v.(types.String)
	switch {
	case !ok:
		return fmt.Errorf("it gives a value of the type %s, a string is expected", typeName(v))
	case utf8.RuneCountInString(string(s)) > most:
		return fmt.Errorf("it gives more than %d characters", most)
	}
	*into = string(s)
	return nil
}

// items takes over a list whose items read can read.
func items[T any](v ref.Val, most int, into *[]T, read func(ref.Val) (T, error)) error {
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
	var all []T
	for it := list.Iterator(); it.HasNext() == types.True; {
		item, err := read(expression.Unwrapped(it.Next()))
		if err != nil {
			return fmt.Errorf("item %d of the list%w", len(all), err)
		}
		all = append(all, item)
	}
	*into = all
	return nil
}

// members returns the members of a map whose value is not null.
func members(v ref.Val, most int) (map[string]ref.Val, error) {
	mapper, ok := v.(traits.Mapper)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("it gives a value of the type %s, a map is expected", typeName(v))
	case expression.SizeOf(mapper) > most:
		return nil, fmt.Errorf("it gives more than %d members", most)
	}
	all := map[string]ref.Val{}
	for it := mapper.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a key of the map is of the type %s, a string is expected", typeName(key))
		}
		if value := expression.Unwrapped(mapper.Get(key)); value != nil {
			all[string(name)] = value
		}
	}
	return all, nil
}

func address(v ref.Val) (string, error) {
	s, ok := v.(types.String)
	switch {
	case !ok:
		return "", fmt.Errorf(" is of the type %s, a string is expected", typeName(v))
	case len(s) > rollcallv1alpha1.MaxAddressLength:
		return "", fmt.Errorf(" has more than %d bytes", rollcallv1alpha1.MaxAddressLength)
	}
	return string(s), nil
}

// metadata takes over what can be text.
func metadata(c *Content, v ref.Val) error {
	given, err := members(v, rollcallv1alpha1.MaxMetadataEntries)
	if err != nil {
		return err
	}
	all, size := map[string]string{}, 0
	var left []string
	for name, value := range given {
		s, ok := scalar(value)
		if !ok {
			left = append(left, name)
			continue
		}
		if size += len(name) + len(s); size > expression.MaxText {
			return fmt.Errorf("it gives more than %d bytes", expression.MaxText)
		}
		all[name] = s
	}
	if c.Node.Metadata = all; len(left) > 0 {
		slices.Sort(left)
		c.leave(memberMetadata, "spec.record.metadata", "gives no string, number or boolean for "+listed(left)+": left out")
	}
	return nil
}

// scalar returns a string, number or boolean as text.
func scalar(v ref.Val) (string, bool) {
	switch v.(type) {
	case types.String, types.Bool, types.Int, types.Uint, types.Double:
		s, ok := v.ConvertToType(types.StringType).(types.String)
		return string(s), ok
	}
	return "", false
}

// port returns a port. Of several members that are wrong, the first by name is told.
func port(v ref.Val) (p discovery.Port, err error) {
	given, err := members(v, expression.MaxText)
	if err != nil {
		return p, fmt.Errorf(": %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch value := given[name]; name {
		case "name":
			err = text(value, expression.MaxString, &p.Name)
		case "protocol":
			err = text(value, expression.MaxString, &p.Protocol)
		case "port":
			p.Port, err = number(value)
		default:
			return p, fmt.Errorf(": a port has no %.40q, only name, port and protocol", name)
		}
		if err != nil {
			return p, fmt.Errorf(": %s: %w", name, err)
		}
	}
	if given["port"] == nil {
		err = errors.New(": port is missing")
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
