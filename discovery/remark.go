package discovery

// Remark is what is odd about a member of a record that informs, and what was made of it. The record is used all the same.
type Remark struct {
	// Member names the member, such as Load or Metadata.cores.
	Member string
	// Detail is for people: what stands there, at most 40 characters of it, and what was made of that.
	Detail string
}

// String returns the remark in one line.
func (r Remark) String() string { return r.Member + " " + r.Detail }
