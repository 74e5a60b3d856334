package record

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// maxRemarks bounds what is said about one record.
const maxRemarks = 16

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
