package refusal

import (
	"slices"
	"testing"
)

// TestSearch: whoever is not refused is admitted, and a few that are refused cost a few tries each.
func TestSearch(t *testing.T) {
	for name, test := range map[string]struct {
		n     int
		bad   []int
		tries int
	}{
		"one of one":         {1, []int{0}, 0},
		"one of two":         {2, []int{1}, 2},
		"the first of 100":   {100, []int{0}, 14},
		"the last of 100":    {100, []int{99}, 14},
		"one of 1,000":       {1000, []int{517}, 20},
		"two side by side":   {100, []int{40, 41}, 28},
		"two far apart":      {100, []int{3, 90}, 28},
		"three of 64":        {64, []int{1, 31, 60}, 36},
		"half of 16":         {16, []int{0, 2, 4, 6, 8, 10, 12, 14}, 32},
		"all of 8":           {8, []int{0, 1, 2, 3, 4, 5, 6, 7}, 16},
		"the odd one of odd": {7, []int{3}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			all := make([]int, test.n)
			for i := range all {
				all[i] = i
			}
			s, tries := NewSearch([][]int{all}), 0
			for items := s.Next(); items != nil; items = s.Next() {
				if tries++; slices.ContainsFunc(items, func(i int) bool { return slices.Contains(test.bad, i) }) {
					s.Refuse()
				} else {
					s.Accept()
				}
			}
			refused := slices.Concat(s.Refused...)
			slices.Sort(refused)
			if !slices.Equal(refused, test.bad) || len(s.Admitted) != test.n-len(test.bad) || len(s.Refused) != len(test.bad) {
				t.Errorf("%v are refused and %d admitted", s.Refused, len(s.Admitted))
			}
			if tries > test.tries {
				t.Errorf("it takes %d tries, not %d", tries, test.tries)
			}
		})
	}
}

// TestSearchThatStops: what is not known by then counts as refused, a part at a time.
func TestSearchThatStops(t *testing.T) {
	s := NewSearch([][]int{{0, 1, 2, 3}})
	if got := s.Next(); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("it begins with %v", got)
	}
	s.Accept()
	s.Stop()
	if !slices.Equal(s.Admitted, []int{0, 1}) || len(s.Refused) != 1 || !slices.Equal(s.Refused[0], []int{2, 3}) || s.Next() != nil {
		t.Errorf("admitted %v, refused %v", s.Admitted, s.Refused)
	}
}

// TestSearchOfGroups: what was put aside in several groups is tried a group at a time.
func TestSearchOfGroups(t *testing.T) {
	s := NewSearch([][]int{nil, {0}, {1, 2, 3}})
	if got := s.Next(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatalf("it begins with %v", got)
	}
	s.Accept()
	if got := s.Next(); !slices.Equal(got, []int{0}) {
		t.Fatalf("it goes on with %v", got)
	}
	s.Refuse()
	if s.Next() != nil || len(s.Refused) != 1 {
		t.Errorf("refused %v", s.Refused)
	}
}
