package discovery

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Remark is what is odd about a member of a record that informs, and what was made of it. The record is used all the same.
// The same trouble gives the same remark: a value that changes with every heartbeat isn't part of it.
type Remark struct {
	// Member names the member, such as Load or Metadata.cores; record stands for the record as a whole.
	Member string
	// Detail is for people: what stands there, at most 40 characters of it, and what was made of that.
	Detail string
	// LeftOut is true if nothing was made of what stands there.
	LeftOut bool
}

// String returns the remark in one line.
func (r Remark) String() string { return r.Member + " " + r.Detail }

const (
	// maxRemarks bounds the remarks on one record.
	maxRemarks = 16
	// maxFound bounds how many are collected before they are sorted.
	maxFound = 1024
	// maxQuoted bounds what a remark quotes, in characters.
	maxQuoted = 40
	// maxPath bounds the names in the path to a member.
	maxPath = 4
)

// remarks are collected while a record is read.
type remarks struct {
	found []Remark
	// more counts what was found beyond maxFound.
	more int
}

func (r *remarks) add(member, detail string) { r.put(Remark{Member: member, Detail: detail}) }

// leave says that a member was left out.
func (r *remarks) leave(member, detail string) {
	r.put(Remark{Member: member, Detail: detail, LeftOut: true})
}

func (r *remarks) put(next Remark) {
	switch {
	case len(r.found) > 0 && r.found[len(r.found)-1] == next:
	case len(r.found) < maxFound:
		r.found = append(r.found, next)
	default:
		r.more++
	}
}

// tell reports whether there is a remark on the member or on a part of it.
func (r *remarks) tell(member string) bool {
	return slices.ContainsFunc(r.found, func(x Remark) bool { return strings.HasPrefix(x.Member, member) })
}

// limited returns the remarks without repetitions, at most maxRemarks of them and how many more there are. They are sorted,
// since the order of members may change from one heartbeat to the next.
func (r *remarks) limited() []Remark {
	all := r.found
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b Remark) int {
		if c := strings.Compare(a.Member, b.Member); c != 0 {
			return c
		}
		return strings.Compare(a.Detail, b.Detail)
	})
	all = slices.Compact(all)
	if more := r.more + len(all) - maxRemarks; more > 0 {
		all = append(all[:maxRemarks:maxRemarks], Remark{Member: RemarkOnRecord, Detail: fmt.Sprintf("has %d more oddities", more)})
	}
	return all
}

// shortened returns the text in printable characters, at most maxQuoted of them, without digits that may change with
// every heartbeat.
func shortened(text string) string {
	if strings.ContainsAny(text, "0123456789") {
		return "a text with digits"
	}
	return clipped(text)
}

// clipped returns the text in printable characters, at most maxQuoted of them.
func clipped(text string) string {
	var b strings.Builder
	count := 0
	for _, c := range text {
		if count++; count >= maxQuoted {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(c) {
			c = '?'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// memberPath joins the names and indices that lead to a value.
func memberPath(path []string) string {
	var b strings.Builder
	for i, name := range path[:min(len(path), maxPath)] {
		if i > 0 && !strings.HasPrefix(name, "[") {
			b.WriteByte('.')
		}
		b.WriteString(clipped(name))
	}
	if len(path) > maxPath {
		b.WriteString("…")
	}
	return b.String()
}
