package refusal

import "slices"

// Search finds out which of the endpoints are refused that are refused together. Of a part that is refused both halves are tried, the
// largest part first, so that most of those that are not refused are written soon.
type Search struct {
	open    []*part
	current *part
	// Admitted are the endpoints that were taken.
	Admitted []int
	// Refused are the parts that were refused: of one endpoint each, or larger where the search ended early.
	Refused [][]int
}

// part is some of the endpoints.
type part struct {
	items []int
	// guilty is true if one of them must be refused.
	guilty bool
	twin   *part
}

// NewSearch returns the search for what is refused in parts that were refused together.
func NewSearch(parts [][]int) *Search {
	s := &Search{}
	for _, items := range parts {
		if len(items) > 0 {
			s.open = append(s.open, &part{items: items})
		}
	}
	if len(s.open) == 1 {
		s.open[0].guilty = true
	}
	return s
}

// Next returns the endpoints to try next in addition to those that were admitted; nil if all is known.
func (s *Search) Next() []int {
	for len(s.open) > 0 {
		largest := 0
		for i, p := range s.open {
			if len(p.items) > len(s.open[largest].items) {
				largest = i
			}
		}
		p := s.open[largest]
		s.open = slices.Delete(s.open, largest, largest+1)
		if !p.guilty {
			s.current = p
			return p.items
		}
		s.split(p)
	}
	return nil
}

// split opens both halves of a part that is refused.
func (s *Search) split(p *part) {
	if len(p.items) == 1 {
		s.Refused = append(s.Refused, p.items)
		return
	}
	half := len(p.items) / 2
	left, right := &part{items: p.items[:half]}, &part{items: p.items[half:]}
	left.twin, right.twin = right, left
	s.open = append(s.open, left, right)
}

// Accept notes that what Next returned was taken.
func (s *Search) Accept() {
	p := s.current
	s.Admitted = append(s.Admitted, p.items...)
	if p.twin != nil {
		p.twin.guilty = true
	}
}

// Refuse notes that what Next returned was refused.
func (s *Search) Refuse() {
	p := s.current
	if p.twin != nil {
		p.twin.twin = nil // The refusal of the whole may be this part's alone.
	}
	s.split(p)
}

// Stop ends the search: what is not known counts as refused, a part at a time.
func (s *Search) Stop() {
	for _, p := range s.open {
		s.Refused = append(s.Refused, p.items)
	}
	s.open = nil
}
