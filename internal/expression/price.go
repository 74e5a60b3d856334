package expression

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

// price is what a call costs, known before it runs. A function that is not among prices costs what all that its arguments
// hold weighs, which is enough for everything that looks at each part of them once and makes no more of it than they are.
func price(function string, args []ref.Val) int {
	if priceOf := prices[function]; priceOf != nil {
		return priceOf(args)
	}
	return weigh(args...)
}

// prices are those of functions that look at less than all of their arguments, that look at it more than once, or that make
// more of it.
var prices = map[string]func(args []ref.Val) int{
	"size": free, "dyn": free, "type": free, "first": free, "last": free, "value": free, "hasValue": free,
	"optional.of": free, "optional.ofNonZeroValue": free, "@not_strictly_false": free,

	operators.Add: shallow, "slice": shallow, "reverse": shallow, "optional.unwrap": shallow, "unwrapOpt": shallow,
	"cel.@mapInsert":    func(args []ref.Val) int { return shallow(args[1:]) },
	operators.Equals:    priceOfEqual,
	operators.NotEquals: priceOfEqual,
	operators.In:        priceOfIn,
	"lists.range":       priceOfRange,
	"flatten":           priceOfFlatten,
	"sort":              priceOfSort, "@sortByAssociatedKeys": priceOfSort,
	"distinct":      func(args []ref.Val) int { return 1 + weigh(args[0])*SizeOf(args[0])/10 },
	"sets.contains": priceOfSets, "sets.intersects": priceOfSets, "sets.equivalent": priceOfSets,

	"replace": priceOfReplace,
	"join":    priceOfJoin,
	"split":   func(args []ref.Val) int { return weigh(args...) + strings.Count(textOf(args[0]), textOf(args[1])) },
	"indexOf": priceOfIndex, "lastIndexOf": priceOfIndex,
	"format": tenfold, "validate": tenfold,
	overloads.Matches: func(args []ref.Val) int { return priceOfRegex(args, 1) },
	functionFind:      func(args []ref.Val) int { return priceOfRegex(args, 1) },
	functionFindAll:   priceOfFindAll,

	"getFullYear": priceOfTime, "getMonth": priceOfTime, "getDayOfYear": priceOfTime, "getDayOfMonth": priceOfTime, "getDate": priceOfTime,
	"getDayOfWeek": priceOfTime, "getHours": priceOfTime, "getMinutes": priceOfTime, "getSeconds": priceOfTime, "getMilliseconds": priceOfTime,
}

func free([]ref.Val) int { return 0 }

func tenfold(args []ref.Val) int { return 10 * weigh(args...) }

// priceOfIn is low for a map, in which a key is found at once.
func priceOfIn(args []ref.Val) int {
	if _, isMap := args[1].(traits.Mapper); isMap {
		return weigh(args[0])
	}
	return weigh(args...)
}

func priceOfRange(args []ref.Val) int {
	n, _ := args[0].(types.Int)
	return int(max(0, min(n, 2*maxCost)))
}

// priceOfFlatten is that of copying everything once for each level.
func priceOfFlatten(args []ref.Val) int {
	depth := types.Int(1)
	if len(args) == 2 {
		depth, _ = args[1].(types.Int)
	}
	return weigh(args[0]) * int(max(1, min(depth, maxCost)))
}

func priceOfSort(args []ref.Val) int { return weigh(args...) * 2 * bits.Len(uint(SizeOf(args[0]))) }

// priceOfSets is that of comparing each item with each.
func priceOfSets(args []ref.Val) int {
	return 1 + weigh(args[0])*max(1, SizeOf(args[1]))/5 + weigh(args[1])*max(1, SizeOf(args[0]))/5
}

func priceOfJoin(args []ref.Val) int {
	separator := 0
	if len(args) == 2 {
		separator = SizeOf(args[1])
	}
	return weigh(args[0]) + separator*SizeOf(args[0])/bytesPerUnit
}

// priceOfIndex is that of comparing a text at each place of another.
func priceOfIndex(args []ref.Val) int {
	return weigh(args...) + len(textOf(args[0]))*len(textOf(args[1]))/500
}

// priceOfTime is high for a time zone, which is read from the disk.
func priceOfTime(args []ref.Val) int { return weigh(args...) + 200*(len(args)-1) }

// priceOfEqual is low where the types differ already, as in a comparison with null.
func priceOfEqual(args []ref.Val) int {
	if args[0].Type() != args[1].Type() {
		return 0
	}
	return weigh(args...)
}

// priceOfReplace is that of reading the text, and of writing as many replacements as there are.
func priceOfReplace(args []ref.Val) int {
	text, old, by := textOf(args[0]), textOf(args[1]), textOf(args[2])
	return weigh(args...) + strings.Count(text, old)*(1+len(by))/bytesPerUnit
}

func textOf(v ref.Val) string {
	text, _ := v.(types.String)
	return string(text)
}

// SizeOf returns how many items, members or bytes a value has, 1 for what has none.
func SizeOf(v ref.Val) int {
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
func shallow(values []ref.Val) (sum int) {
	for _, v := range values {
		switch v := v.(type) {
		case types.String, types.Bytes:
			sum += SizeOf(v) / bytesPerUnit
		case traits.MutableLister:
		case traits.Lister, traits.Mapper:
			sum += SizeOf(v)
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
		s.left -= SizeOf(v) / bytesPerUnit
	case *types.Optional:
		if v.HasValue() {
			s.put(v.GetValue())
		}
	case traits.Lister:
		for it := v.Iterator(); s.left >= 0 && it.HasNext() == types.True; {
			s.put(it.Next())
		}
	case traits.Mapper:
		s.putMap(v)
	case apiservercel.URL:
		s.left -= len(v.Host) + len(v.Path) + len(v.RawQuery)
	case apiservercel.Semver:
		s.left -= len(v.Pre) + len(v.Build)
	}
}

func (s *scale) putMap(v traits.Mapper) {
	for it := v.Iterator(); s.left >= 0 && it.HasNext() == types.True; {
		key := it.Next()
		s.put(key)
		s.put(v.Get(key))
	}
}
