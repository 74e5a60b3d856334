// The agent of Rollcall: it keeps the machine or pod that it runs on registered. See docs/agent.md.
package main

import (
	"os"

	"github.com/rollcall-dev/rollcall/internal/agent"
)

func main() {
	os.Exit(agent.Main(os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}
