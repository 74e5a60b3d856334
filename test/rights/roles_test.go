package rights

import (
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// right is one verb for one resource, such as "patch noderegistries.rollcall.dev/status".
type right struct{ verb, resource string }

func (r right) String() string { return r.verb + " " + r.resource }

// parse is the opposite of String.
func parse(text string) right {
	verb, resource, _ := strings.Cut(text, " ")
	return right{verb, resource}
}

// The roles that config/rbac gives the manager.
const (
	managerRole     = "role.yaml"
	leaderRole      = "leader_election_role.yaml"
	metricsAuthRole = "metrics_auth_role.yaml"
)

// readRole returns a role in config/rbac.
func readRole(t testing.TB, file string) *rbacv1.ClusterRole {
	t.Helper()
	text, err := os.ReadFile("../../config/rbac/" + file)
	must(t, err)
	role := &rbacv1.ClusterRole{}
	must(t, yaml.UnmarshalStrict(text, role))
	return role
}

// rules returns the rules of a role in config/rbac, split up so that each holds a single right.
func rules(t testing.TB, file string) []rbacv1.PolicyRule {
	t.Helper()
	var all []rbacv1.PolicyRule
	for _, rule := range readRole(t, file).Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, rbacv1.PolicyRule{
						APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: rule.ResourceNames,
					})
				}
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s allows nothing", file)
	}
	return all
}

// rightOf returns the right that a rule of one holds.
func rightOf(rule rbacv1.PolicyRule) right {
	resource, sub, isSub := strings.Cut(rule.Resources[0], "/")
	if group := rule.APIGroups[0]; group != "" {
		resource += "." + group
	}
	if isSub {
		resource += "/" + sub
	}
	return right{rule.Verbs[0], resource}
}

// without returns the rules without one right.
func without(rules []rbacv1.PolicyRule, missing right) []rbacv1.PolicyRule {
	return slices.DeleteFunc(slices.Clone(rules), func(rule rbacv1.PolicyRule) bool { return rightOf(rule) == missing })
}

// clusterWide says whether a right means something in the whole cluster only, so that no Role can give it.
func clusterWide(rule rbacv1.PolicyRule) bool {
	return slices.Contains([]string{"namespaces", "tokenreviews", "subjectaccessreviews"}, rule.Resources[0])
}

// allRights returns the rights of all roles, each once, in the order of the files.
func allRights(t testing.TB) []right {
	t.Helper()
	var all []right
	for _, file := range []string{managerRole, leaderRole, metricsAuthRole} {
		for _, rule := range rules(t, file) {
			if r := rightOf(rule); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}
