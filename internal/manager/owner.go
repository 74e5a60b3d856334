package manager

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// maxFieldOwner is the greatest length of the name of a field manager.
const maxFieldOwner = 128

// namespaceFile has the namespace of the pod that reads it.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// podNamespace returns the namespace of the manager's own pod; empty if it is in none.
func podNamespace() string {
	namespace, err := os.ReadFile(namespaceFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(namespace))
}

// fieldOwner returns the field manager under which an installation writes, so that two that write the same object can be told apart: by
// the namespace, and by the name of the Lease where that is not the usual one. It is the same for each of its replicas.
func fieldOwner(namespace, lease string) string {
	parts := []string{rollcallv1alpha1.FieldOwner}
	if namespace != "" {
		parts = append(parts, namespace)
	}
	if lease != leaderElectionID {
		parts = append(parts, lease)
	}
	owner := strings.Join(parts, "/")
	if len(owner) <= maxFieldOwner {
		return owner
	}
	hash := sha256.Sum256([]byte(owner))
	end := "-" + hex.EncodeToString(hash[:4])
	return owner[:maxFieldOwner-len(end)] + end
}
