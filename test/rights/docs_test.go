package rights

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/security.md anew")

// TestDocs holds the table in docs/security.md to what the tests show.
func TestDocs(t *testing.T) {
	const (
		file  = "../../docs/security.md"
		begin = "<!-- rights: `go test ./test/rights -run TestDocs -update` writes this table. -->\n"
		end   = "\n<!-- end of rights -->"
	)
	page, err := os.ReadFile(file)
	must(t, err)
	head, rest, found := strings.Cut(string(page), begin)
	table, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("docs/security.md has no place for the table")
	}
	if *update {
		must(t, os.WriteFile(file, []byte(head+begin+rightsTable()+end+tail), 0o600))
		return
	}
	if table != rightsTable() {
		t.Errorf("docs/security.md is out of date; want\n%s", rightsTable())
	}
}

func rightsTable() string {
	var b strings.Builder
	b.WriteString("\n| what Rollcall does | the rights it takes |\n| --- | --- |\n")
	for _, behaviour := range behaviours {
		b.WriteString("| " + behaviour.name + " | `" + strings.Join(behaviour.rights, "`, `") + "` |\n")
	}
	return b.String()
}
