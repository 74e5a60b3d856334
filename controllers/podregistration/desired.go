package podregistration

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
)

// matches reports whether the PodRegistration picks the pod.
func (p *plan) matches(pod *corev1.Pod) bool { return p.selector.Matches(labels.Set(pod.Labels)) }

// desired returns the claim that the plan makes for a pod that it matches; nil if the pod is not to be registered, with a
// fault if something is in the way.
func (p *plan) desired(pod *corev1.Pod) (*roster.Claim, *fault) {
	if p.refused || p.deferred || !ready(pod) {
		return nil, nil
	}
	node, wrong := p.node(pod)
	if wrong != nil {
		return nil, wrong
	}
	key, err := discovery.Key(p.prefix, node.ID)
	if err != nil {
		return nil, faulty(rollcallv1alpha1.ReasonInvalidKey, "spec.nodeID gives %.120q, which can't be a key: %v", node.ID, err)
	}
	if _, _, err := node.Reach(); err != nil {
		return nil, faulty(rollcallv1alpha1.ReasonRegistrationFailed, "the pod can't be reached: %v", err)
	}
	template, err := discovery.NewTemplate(node)
	if err != nil {
		return nil, faulty(rollcallv1alpha1.ReasonRegistrationFailed, "the pod has no record: %v", err)
	}
	return &roster.Claim{
		ID:  roster.ID{Registration: p.name, UID: pod.UID},
		Pod: client.ObjectKeyFromObject(pod), Created: pod.CreationTimestamp.Time,
		Key: key, Record: template, Interval: p.interval,
	}, nil
}

// node returns the record of a pod.
func (p *plan) node(pod *corev1.Pod) (discovery.Node, *fault) {
	n := discovery.Node{
		Name: pod.Name, Addresses: addresses(pod),
		Owner: &discovery.Owner{Cluster: p.cluster, UID: string(pod.UID), Registration: string(p.uid)},
	}
	if wrong := p.evaluate(pod, &n); wrong != nil {
		return n, wrong
	}
	if n.Ports = ports(pod, p.ports); len(n.Ports) == 0 {
		return n, p.noPort()
	}
	if len(n.Addresses) > 0 {
		n.Endpoint = endpoint(n.Addresses[0], n.Ports[0])
	}
	return n, nil
}

func (p *plan) noPort() *fault {
	if len(p.ports) == 0 {
		return faulty(rollcallv1alpha1.ReasonPortNotFound, "no container of the pod declares a port: declare one under ports of a container")
	}
	return faulty(rollcallv1alpha1.ReasonPortNotFound, "no container of the pod declares a port named %s: correct spec.ports, or the names of the container ports",
		strings.Join(p.ports, " or "))
}

// evaluate sets what the expressions give.
func (p *plan) evaluate(pod *corev1.Pod, n *discovery.Node) *fault {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		return faulty(rollcallv1alpha1.ReasonRegistrationFailed, "the pod can't be read: %v", err)
	}
	id, found, err := p.nodeID.Evaluate(object)
	if err != nil {
		return faulty(rollcallv1alpha1.ReasonInvalidExpression, "%s", detail(err))
	}
	if !found || id == "" {
		return faulty(rollcallv1alpha1.ReasonInvalidKey, "spec.nodeID gives no node ID for this pod: let it give one, or select other pods")
	}
	n.ID = id
	for _, m := range p.metadata {
		text, found, err := m.text.Evaluate(object)
		if err != nil {
			return faulty(rollcallv1alpha1.ReasonInvalidExpression, "%s", detail(err))
		}
		if found {
			if n.Metadata == nil {
				n.Metadata = make(map[string]string, len(p.metadata))
			}
			n.Metadata[m.name] = text
		}
	}
	return nil
}

// detail says what failed, without the reason that the fault has anyway.
func detail(err error) string {
	if wrong, ok := errors.AsType[*discovery.RecordError](err); ok {
		return wrong.Detail + ": correct the expression, or what it reads of the pod"
	}
	return err.Error()
}

// ready reports whether a pod is to be in the bucket: it is Ready, and not on its way out. The gate that waits for that
// does not count.
func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	if !gated(pod) {
		return isTrue(pod, corev1.PodReady)
	}
	for _, gate := range pod.Spec.ReadinessGates {
		if gate.ConditionType != rollcallv1alpha1.ReadinessGateRegistered && !isTrue(pod, gate.ConditionType) {
			return false
		}
	}
	return isTrue(pod, corev1.ContainersReady)
}

// gated reports whether the pod waits for being registered.
func gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool {
		return g.ConditionType == rollcallv1alpha1.ReadinessGateRegistered
	})
}

func isTrue(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	c := condition(pod, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// addresses returns the pod's IP addresses, of both families if it has both. Those of a pod on its host's network are the
// host's.
func addresses(pod *corev1.Pod) []string {
	var all []string
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	if len(all) == 0 && pod.Status.PodIP != "" {
		all = append(all, pod.Status.PodIP)
	}
	return all
}

// ports returns the ports of the pod's containers, restartable init containers among them: those with one of the names, or
// all if there are none. Names within a record differ, so a port whose name is taken, or that is one of several without
// a name, is named by its number.
func ports(pod *corev1.Pod, names []string) []discovery.Port {
	var found []discovery.Port
	unnamed := 0
	for _, c := range serving(pod) {
		for _, port := range c.Ports {
			if len(names) > 0 && !slices.Contains(names, port.Name) {
				continue
			}
			p := discovery.Port{Name: port.Name, Port: int(port.ContainerPort), Protocol: string(port.Protocol)}
			if p.Protocol == "" {
				p.Protocol = string(corev1.ProtocolTCP)
			}
			if slices.Contains(found, p) {
				continue
			}
			if p.Name == "" {
				unnamed++
			}
			found = append(found, p)
		}
	}
	rename(found, unnamed)
	return found
}

// rename gives every port a name of its own; a single one without a name needs none.
func rename(all []discovery.Port, unnamed int) {
	for i := range all {
		p := &all[i]
		taken := slices.ContainsFunc(all[:i], func(o discovery.Port) bool { return o.Name == p.Name })
		if taken || (p.Name == "" && unnamed > 1) {
			p.Name = fmt.Sprintf("%s-%d", strings.ToLower(p.Protocol), p.Port)
		}
	}
}

// serving returns the containers that run all the time.
func serving(pod *corev1.Pod) []corev1.Container {
	all := slices.Clone(pod.Spec.Containers)
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways {
			all = append(all, *c)
		}
	}
	return all
}

// endpoint returns the one way to reach the node, for readers that know no more of a record: a URL if the port's name is
// its scheme, or else host:port.
func endpoint(address string, port discovery.Port) string {
	host := net.JoinHostPort(address, strconv.Itoa(port.Port))
	if port.Name == "http" || port.Name == "https" {
		return (&url.URL{Scheme: port.Name, Host: host}).String()
	}
	return host
}
