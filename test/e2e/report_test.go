//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// logsVariable names a folder to keep all logs in.
const logsVariable = "E2E_LOGS"

// report prints what helps to find out why the test failed, and keeps the logs if that was asked for.
func (s *stage) report() {
	if s.Failed() {
		for _, args := range [][]string{
			{"get", "pods,services,endpointslices", "--all-namespaces", "--output=wide"},
			{"get", "noderegistries,discoverednodes,podregistrations", "--all-namespaces"},
			{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
			{"logs", "--namespace", system, "--selector=app.kubernetes.io/name=rollcall", "--prefix", "--tail=50"},
			{"logs", "--namespace", "nats", "--selector=app=nats", "--tail=20"},
		} {
			out, err := exec.Command(s.Kubectl, append(args, "--kubeconfig", s.Kubeconfig)...).CombinedOutput()
			fmt.Printf("--- kubectl %v (%v)\n%s\n", args, err, out)
		}
	}
	folder := os.Getenv(logsVariable)
	if folder == "" {
		if s.Failed() {
			fmt.Printf("--- %s=<folder> keeps all logs\n", logsVariable)
		}
		return
	}
	for name, logs := range map[string]string{"parts": s.Logs, "pods": "/var/log/pods"} {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS(logs)); err != nil {
			s.Error("keep the logs:", err)
		}
	}
}
