package testenv

import (
	"os"
	"path/filepath"
)

// Option changes how the API server is started.
type Option func(*Env) error

// Flag sets a flag of the API server.
func Flag(name string, values ...string) Option {
	return func(e *Env) error {
		e.environment.ControlPlane.GetAPIServer().Configure().Set(name, values...)
		return nil
	}
}

// Audit has the API server write an audit log, by that policy, which is removed by Stop.
func Audit(policy string) Option {
	return func(e *Env) error {
		var err error
		if e.directory, err = os.MkdirTemp("", "rollcall-audit-"); err != nil {
			return err
		}
		file := filepath.Join(e.directory, "policy.yaml")
		if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
			return err
		}
		e.AuditLog = filepath.Join(e.directory, "audit.log")
		e.environment.ControlPlane.GetAPIServer().Configure().Set("audit-policy-file", file).Set("audit-log-path", e.AuditLog)
		return nil
	}
}

// clean removes what the options made.
func (e *Env) clean() error {
	if e.directory == "" {
		return nil
	}
	return os.RemoveAll(e.directory)
}

// Bare leaves Rollcall's custom resources out: the API server is that of a new cluster.
func Bare(e *Env) error {
	e.environment.CRDDirectoryPaths, e.environment.ErrorIfCRDPathMissing = nil, false
	return nil
}
