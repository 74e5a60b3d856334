package expression

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// MaxString is the greatest length of a string that an expression sees, in bytes.
const MaxString = 8 << 10

// Visible turns decoded JSON into what an expression sees, in place, and says what it does not see: whole numbers are int64,
// others float64. A string that is too long and a number that is out of range are not there, and neither is a member whose
// name is too long.
func Visible(v any) (any, []discovery.Remark) {
	var s visible
	seen, _ := s.value(v)
	return seen, s.remarks
}

// visible collects what there is to say while Visible goes through a value.
type visible struct {
	path    []string
	remarks []discovery.Remark
}

// value returns what is seen of a value, and false if it is not there. Lists and maps are changed in place.
func (s *visible) value(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if len(v) > MaxString {
			return s.hide("has %d bytes, expressions see strings of at most %d: left out for them", len(v), MaxString)
		}
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i, true
		}
		f, err := v.Float64()
		if err != nil {
			return s.hide("is a number out of range: left out for expressions")
		}
		return f, true
	case []any:
		return s.list(v), true
	case map[string]any:
		for name, member := range v {
			s.path = append(s.path, name)
			if seen, there := s.value(member); there && len(name) <= MaxString {
				v[name] = seen
			} else {
				delete(v, name)
			}
			s.path = s.path[:len(s.path)-1]
		}
	}
	return v, true
}

func (s *visible) list(v []any) []any {
	kept := v[:0]
	for i, item := range v {
		s.path = append(s.path, strconv.Itoa(i))
		if seen, there := s.value(item); there {
			kept = append(kept, seen)
		}
		s.path = s.path[:len(s.path)-1]
	}
	return kept
}

func (s *visible) hide(format string, args ...any) (any, bool) {
	member := "value"
	if len(s.path) > 0 {
		member = Plain(strings.Join(s.path[max(0, len(s.path)-4):], "."), maxQuote)
	}
	s.remarks = append(s.remarks, discovery.Remark{Member: member, Detail: fmt.Sprintf(format, args...), LeftOut: true})
	return nil, false
}
