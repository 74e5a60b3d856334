package record

import (
	"math/bits"
	"strings"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// bytesPerUnit is how much text is looked at or made for one unit.
const bytesPerUnit = 10

// price is what a call costs, known before it runs. A function that is not named costs what all that its arguments hold
// weighs, which is enough for everything that looks at each part of them once and makes no more of it than they are.
func price(function string, args []ref.Val) int {
	switch function {
	case "size", "dyn", "type", "first", "last", "value", "hasValue", "optional.of", "optional.ofNonZeroValue", "@not_strictly_false":
		return 0
	case operators.Add, "slice", "reverse", "optional.unwrap", "unwrapOpt":
		return shallow(args...)
	case operators.Equals, operators.NotEquals:
		return priceOfEqual(args[0], args[1])
	case operators.In:
		if _, isMap := args[1].(traits.Mapper); isMap {
			return weigh(args[0])
		}
	case "cel.@mapInsert":
		return shallow(args[1:]...)
	case "lists.range":
		if n, ok := args[0].(types.Int); ok {
			return max(0, int(min(n, 2*maxCost)))
		}
	case "flatten":
		return weigh(args[0]) * flattened(args)
	case "sort", "@sortByAssociatedKeys":
		return weigh(args...) * 2 * bits.Len(uint(sizeOf(args[0])))
	case "distinct":
		return 1 + weigh(args[0])*sizeOf(args[0])/10
	case "sets.contains", "sets.intersects", "sets.equivalent":
		return 1 + weigh(args[0])*max(1, sizeOf(args[1]))/5 + weigh(args[1])*max(1, sizeOf(args[0]))/5
	}
	return priceOfText(function, args)
}

// priceOfText is the price of the functions over texts.
func priceOfText(function string, args []ref.Val) int {
	switch function {
	case "replace":
		return priceOfReplace(args)
	case "join":
		separator := 0
		if len(args) == 2 {
			separator = sizeOf(args[1])
		}
		return weigh(args[0]) + separator*sizeOf(args[0])/bytesPerUnit
	case "split":
		return weigh(args...) + strings.Count(textOf(args[0]), textOf(args[1]))
	case "indexOf", "lastIndexOf":
		if _, isText := args[0].(types.String); isText {
			return weigh(args...) + len(textOf(args[0]))*len(textOf(args[1]))/500
		}
	case "format":
		return 10 * weigh(args...)
	case overloads.Matches, functionFind, functionFindAll:
		return priceOfRegex(function, args)
	case "validate":
		return 10 * weigh(args...)
	case "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds":
		return weigh(args...) + 200*(len(args)-1) // a time zone is read from the disk
	}
	return weigh(args...)
}

// priceOfEqual is low where the types differ already, as in a comparison with null.
func priceOfEqual(a, b ref.Val) int {
	if a.Type() != b.Type() {
		return 0
	}
	return weigh(a, b)
}

// priceOfReplace is that of reading the text, and of writing as many replacements as there are.
func priceOfReplace(args []ref.Val) int {
	text, old, by := textOf(args[0]), textOf(args[1]), textOf(args[2])
	return weigh(args...) + strings.Count(text, old)*(1+len(by))/bytesPerUnit
}

// flattened returns how deep flatten goes.
func flattened(args []ref.Val) int {
	if len(args) == 2 {
		if depth, ok := args[1].(types.Int); ok {
			return int(max(1, min(depth, maxCost)))
		}
	}
	return 1
}

func textOf(v ref.Val) string {
	text, _ := v.(types.String)
	return string(text)
}

// sizeOf returns how many items, members or bytes a value has, 1 for what has none.
func sizeOf(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case traits.Sizer:
		if size, ok := v.Size().(types.Int); ok {
			return int(size)
		}
	}
	return 1
}

// shallow is the weight of values without what the items of lists and the members of maps hold.
func shallow(values ...ref.Val) (sum int) {
	for _, v := range values {
		switch v := v.(type) {
		case types.String, types.Bytes:
			sum += sizeOf(v) / bytesPerUnit
		case traits.MutableLister:
		case traits.Lister, traits.Mapper:
			sum += sizeOf(v)
		}
	}
	return sum
}

// weigh returns how much values hold, everything in them included, and no more than a little over maxCost.
func weigh(values ...ref.Val) int {
	s := scale{left: maxCost}
	for _, v := range values {
		s.put(v)
	}
	return maxCost - s.left
}

// scale weighs until nothing is left. It visits a value as often as it is held, as do the functions: two steps per level
// make a list that is thousands of levels wide.
type scale struct{ left int }

func (s *scale) put(v ref.Val) {
	s.left--
	if s.left < 0 {
		return
	}
	switch v := v.(type) {
	case types.String, types.Bytes:
		s.left -= sizeOf(v) / bytesPerUnit
	case *types.Optional:
		if v.HasValue() {
			s.put(v.GetValue())
		}
	case traits.Lister:
		for it := v.Iterator(); s.left >= 0 && it.HasNext() == types.True; {
			s.put(it.Next())
		}
	case traits.Mapper:
		for it := v.Iterator(); s.left >= 0 && it.HasNext() == types.True; {
			key := it.Next()
			s.put(key)
			s.put(v.Get(key))
		}
	case apiservercel.URL:
		s.left -= len(v.Host) + len(v.Path) + len(v.RawQuery)
	case apiservercel.Semver:
		s.left -= len(v.Pre) + len(v.Build)
	}
}
