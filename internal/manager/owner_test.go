package manager

import (
	"strings"
	"testing"
)

func TestFieldOwner(t *testing.T) {
	for _, test := range []struct{ namespace, lease, want string }{
		{"", leaderElectionID, "rollcall-manager"},
		{"rollcall-system", leaderElectionID, "rollcall-manager/rollcall-system"},
		{"shared", "a-rollcall-manager", "rollcall-manager/shared/a-rollcall-manager"},
	} {
		if got := fieldOwner(test.namespace, test.lease); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.namespace, test.lease, got, test.want)
		}
	}
	long := strings.Repeat("x", 100)
	a, b := fieldOwner(long, long+"a"), fieldOwner(long, long+"b")
	if len(a) != maxFieldOwner || len(b) != maxFieldOwner || a == b {
		t.Errorf("long names become %s and %s", a, b)
	}
}
