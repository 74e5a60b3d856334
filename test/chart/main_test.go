// Package chart tests the chart with the real Helm: every value, and an install, an upgrade and an uninstall on a real API
// server. There is no kubelet, so what runs in the pods runs in the test.
package chart

import (
	"fmt"
	"os"
	"testing"

	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

const (
	root  = "../.."
	chart = root + "/charts/rollcall"
)

var (
	env *testenv.Env
	// helmPath is the Helm that hack/chart pins.
	helmPath string
)

func TestMain(m *testing.M) {
	var err error
	if helmPath, err = buildHelm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testrig.Main(m, &env, testenv.Bare)
}
