package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	// maxString is the greatest length of a string that an expression sees, in bytes.
	maxString = 8 << 10
	// maxRemarks bounds what is said about one record.
	maxRemarks = 16
)

// visible turns decoded JSON into what an expression sees: whole numbers are int64, others float64. A string that is too
// long and a number that is out of range are not there, and neither is a member whose name is too long.
type visible struct {
	path    []string
	remarks []discovery.Remark
}

// value returns what is seen of a value, and false if it is not there. Lists and maps are changed in place.
func (s *visible) value(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if len(v) > maxString {
			return s.hide("has %d bytes, expressions see strings of at most %d: left out for them", len(v), maxString)
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
			if seen, there := s.value(member); there && len(name) <= maxString {
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
		member = plain(strings.Join(s.path[max(0, len(s.path)-4):], "."), maxQuote)
	}
	s.remarks = append(s.remarks, discovery.Remark{Member: member, Detail: fmt.Sprintf(format, args...)})
	return nil, false
}

// ordered returns the remarks in an order that does not change from one reading to the next, and no more than may be said.
func ordered(remarks []discovery.Remark) []discovery.Remark {
	slices.SortFunc(remarks, func(a, b discovery.Remark) int {
		return cmp.Or(strings.Compare(a.Member, b.Member), strings.Compare(a.Detail, b.Detail))
	})
	remarks = slices.Compact(remarks)
	return remarks[:min(len(remarks), maxRemarks)]
}

// listed names things for people: the first three, and how many more there are.
func listed(names []string) string {
	shown := make([]string, 0, 4)
	for _, name := range names[:min(len(names), 3)] {
		shown = append(shown, fmt.Sprintf("%.40q", name))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}
