package faults

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

func faultsOfTheAPIServer() []fault {
	return []fault{
		{name: "API server down for 30 s, 1,000 nodes changed", alone: true, long: true, run: func(r *rig) { downAPIServer(r, 2, 1000, 30*time.Second) }},
		{name: "API server killed and restarted", alone: true, run: func(r *rig) { downAPIServer(r, times(1, 3), 40, 0) }},
		{name: "API server paused (SIGSTOP) for 5 s", alone: true, long: true, run: func(r *rig) { pauseAPIServer(r, times(1, 4)) }},
		{name: "etcd slow: 200 ms of every 250 paused", alone: true, run: func(r *rig) { slowEtcd(r, times(10, 60)) }},
		{name: "API server answers 429 and 409 for 2 s", alone: *full, run: func(r *rig) { refuse(r, times(1, 15)) }},
		{name: "etcd restored to an older state", alone: true, long: true, run: func(r *rig) { restoreEtcd(r, 3, false) }},
		{name: "etcd restored, and written to past the old state", alone: true, long: true, run: func(r *rig) { restoreEtcd(r, 3, true) }},
		{name: "watches end and have expired (410)", alone: *full, run: func(r *rig) { expireWatches(r, times(3, 30)) }},
		{name: "edited or deleted by hand", alone: *full, run: func(r *rig) { editByHand(r, times(10, 120)) }},
		{name: "an editor of the slices that never gives up", run: func(r *rig) { editForever(r, times(3, 30)) }},
		{name: "CRD of the DiscoveredNodes deleted and put back", alone: true, long: true, run: func(r *rig) { deleteCRD(r, 2) }},
		{name: "namespace deleted while its registry is live", alone: true, long: true, run: func(r *rig) { deleteNamespace(r, 3) }},
	}
}

// settleAPI is how long the endpoints of 1,000 nodes may take to show once the API server answers again.
const settleAPI = 2 * time.Second

const (
	// watchesBack is when the manager watches again at the latest: until then it does not see what became of what it wrote. An
	// API server that was restarted answers old watches with 410, after which the client library waits before it lists: a
	// second, and twice as long the next time within two minutes.
	watchesBack = 15 * time.Second
	// relistBackoff is the same for watches that expire more often than that.
	relistBackoff = time.Minute
)

// withoutAPI opens a window in which the API server does not work. mended closes it: the endpoints have to be right soon
// afterwards, the DiscoveredNodes once the manager's watches are back.
func (r *rig) withoutAPI(back time.Duration) (mended func(at time.Time)) {
	endpoints := r.broken(window{settle: settleAPI + allowance()})
	_, usual := limits()
	nodes := r.broken(window{settle: back + usual.arrive, nodesOnly: true})
	return func(at time.Time) {
		r.mended(endpoints, at)
		r.mended(nodes, at)
	}
}

func apiServer(r *rig) *testenv.Process {
	r.Helper()
	p, err := env.APIServer()
	must(r, err)
	return p
}

// answers waits until the API server says that it is ready, and returns when it did.
func (r *rig) answers() time.Time {
	r.Helper()
	kube, err := kubernetes.NewForConfig(env.Config)
	must(r, err)
	poll(r.T, patience, "the API server", func() bool {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		return kube.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
	return time.Now()
}

// downAPIServer kills the API server, lets every node move meanwhile, and measures how long it takes until all of it shows
// once the API server answers again.
func downAPIServer(r *rig, n, size int, d time.Duration) {
	s := usual()
	s.nodes, s.ttl = size, time.Duration(max(4, size/20))*time.Second
	r.set(s)
	for range n {
		r.row.tried++
		mended := r.withoutAPI(watchesBack)
		must(r, apiServer(r).Kill())
		killed := time.Now()
		for _, id := range r.fleet.ids() {
			_, address := r.fleet.fresh()
			must(r, r.fleet.move(id, address))
		}
		pass(time.Until(killed.Add(d)))
		must(r, apiServer(r).Start())
		answered := r.answers()
		mended(answered)
		poll(r.T, patience, "all endpoints", func() bool { return r.shown(r.observer.endpoints) })
		r.row.blind = append(r.row.blind, time.Since(answered))
		r.settle()
		r.Logf("all DiscoveredNodes were right after %s", time.Since(answered).Round(time.Millisecond))
	}
	r.judge()
}

func pauseAPIServer(r *rig, n int) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		mended := r.withoutAPI(watchesBack)
		must(r, apiServer(r).Pause())
		pass(5 * time.Second)
		must(r, apiServer(r).Resume())
		answered := r.answers()
		mended(answered)
		r.over(nil)
		pass(time.Second)
	}
	stop()
	r.judge()
}

func slowEtcd(r *rig, n int) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	etcd, err := env.Etcd()
	must(r, err)
	mended := r.withoutAPI(watchesBack)
	for range n {
		r.row.tried++
		must(r, etcd.Pause())
		pass(200 * time.Millisecond)
		must(r, etcd.Resume())
		pass(50 * time.Millisecond)
	}
	mended(r.answers())
	r.over(nil)
	stop()
	r.judge()
}

// refuse lets the API server refuse every third request, and every second write with a conflict.
func refuse(r *rig, n int) {
	liar := newLiar(r.T, env)
	r.kubeconfig = liar.kubeconfig(r.T)
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		mended := r.withoutAPI(watchesBack)
		liar.refusing(func(request *http.Request) int {
			writing := request.Method == http.MethodPut || request.Method == http.MethodPatch
			switch {
			case writing && r.fleet.random(2) == 0:
				return http.StatusConflict
			case r.fleet.random(3) == 0:
				return http.StatusTooManyRequests
			}
			return 0
		})
		pass(2 * time.Second)
		liar.refusing(nil)
		mended(time.Now())
		r.over(nil)
	}
	stop()
	r.Logf("%d requests were refused", liar.refused)
	if liar.refused == 0 {
		r.Error("no request was refused")
	}
	r.judge()
}

// expireWatches ends all watches that there are, and has them list anew, again and again.
func expireWatches(r *rig, n int) {
	liar := newLiar(r.T, env)
	r.kubeconfig = liar.kubeconfig(r.T)
	r.set(usual())
	stop := r.fleet.churn(busy)
	for r.row.tried < n {
		mended := r.withoutAPI(relistBackoff)
		r.row.tried += liar.expire()
		mended(time.Now())
		r.over(nil)
		pass(time.Second)
	}
	stop()
	r.judge()
}

// editByHand changes and deletes what the manager has written, as a person might, and waits until it is put back.
// editByHand starts the manager again after each edit of each kind: whoever edits a Service's slices again and again is made to wait.
func editByHand(r *rig, n int) {
	r.set(usual())
	edits := []func(*rig) error{editSlice, deleteSlice, relabelSlice, editNode, deleteNode, relabelNode}
	for i := range n {
		r.row.tried++
		if i > 0 && i%len(edits) == 0 {
			w := r.down()
			must(r, r.manager.kill())
			since := time.Now()
			r.mend(w, r.begin)
			r.started(w, since, startBound)
		}
		w := r.broken(window{settle: settleAPI + allowance(), excused: true})
		// The manager may be writing the same object.
		poll(r, patience, "the edit", func() bool {
			err := edits[i%len(edits)](r)
			if err != nil && !apierrors.IsConflict(err) {
				r.Fatal(err)
			}
			return err == nil
		})
		edited := time.Now()
		r.mended(w, edited)
		// The observer has to see the edit before it can see it undone.
		pass(time.Duration(50+r.fleet.random(100)) * time.Millisecond)
		r.settle()
		r.row.blind = append(r.row.blind, time.Since(edited))
	}
	r.judge()
}

// editForever lets somebody take our owner from each slice and add an address that takes no traffic, as soon as they are put back.
// Nobody's endpoint may be late for that.
func editForever(r *rig, seconds int) {
	r.set(usual())
	editing, stopEditing := context.WithCancel(r.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for editing.Err() == nil {
			const extra = "10.99.99.99"
			slice, err := r.anySlice()
			if err == nil && (slice.OwnerReferences != nil || !hasAddress(slice, extra)) {
				slice.OwnerReferences = nil
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
					Addresses: []string{extra}, Conditions: discoveryv1.EndpointConditions{Ready: new(false)},
				})
				_ = r.api.Update(editing, slice) // It may be outdated, and is tried again.
			}
			pass(20 * time.Millisecond)
		}
	})
	stop := r.fleet.churn(busy)
	for range seconds {
		r.row.tried++
		pass(time.Second)
	}
	stop()
	stopEditing()
	done.Wait()
	r.judge()
}

func hasAddress(slice *discoveryv1.EndpointSlice, address string) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return slices.Contains(e.Addresses, address) })
}

func (r *rig) anySlice() (*discoveryv1.EndpointSlice, error) {
	list := &discoveryv1.EndpointSliceList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace)); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, "any slice")
	}
	return &list.Items[r.fleet.random(len(list.Items))], nil
}

func editSlice(r *rig) error {
	slice, err := r.anySlice()
	if err != nil || len(slice.Endpoints) == 0 {
		return err
	}
	slice.Endpoints = slice.Endpoints[:len(slice.Endpoints)/2]
	return r.api.Update(r.Context(), slice)
}

func deleteSlice(r *rig) error {
	slice, err := r.anySlice()
	if err != nil {
		return err
	}
	return r.api.Delete(r.Context(), slice)
}

// relabelSlice takes a slice away from its manager, and from its Service.
func relabelSlice(r *rig) error {
	slice, err := r.anySlice()
	if err != nil {
		return err
	}
	slice.Labels = map[string]string{"by": "hand"}
	if err := r.api.Update(r.Context(), slice); err != nil {
		return err
	}
	// It is nobody's now, and would be counted as an endpoint's second place for ever.
	return r.api.Delete(r.Context(), slice)
}

func (r *rig) anyNode() (*rollcallv1alpha1.DiscoveredNode, error) {
	ids := r.fleet.ids()
	key := client.ObjectKey{Namespace: r.namespace, Name: registryName + "." + ids[r.fleet.random(len(ids))]}
	node := &rollcallv1alpha1.DiscoveredNode{}
	return node, r.api.Get(r.Context(), key, node)
}

func editNode(r *rig) error {
	node, err := r.anyNode()
	if err != nil {
		return err
	}
	node.Spec.Addresses = []string{"10.99.99.99"}
	node.Status.Phase = rollcallv1alpha1.NodeExpired
	return r.api.Update(r.Context(), node)
}

func deleteNode(r *rig) error {
	node, err := r.anyNode()
	if err != nil {
		return err
	}
	return r.api.Delete(r.Context(), node)
}

func relabelNode(r *rig) error {
	node, err := r.anyNode()
	if err != nil {
		return err
	}
	node.Labels = map[string]string{"role": "other"}
	return r.api.Update(r.Context(), node)
}

// crd returns the definition of DiscoveredNodes.
func (r *rig) crd() (*unstructured.Unstructured, error) {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return crd, r.api.Get(r.Context(), client.ObjectKey{Name: "discoverednodes." + rollcallv1alpha1.GroupVersion.Group}, crd)
}

// crdBound is how long the DiscoveredNodes may take to be there again: the manager asks for them every few seconds, and the
// API server takes its time until it serves them.
const crdBound = 8 * time.Second

// deleteCRD deletes the definition of the DiscoveredNodes, and with it all of them. The endpoints have to stay.
func deleteCRD(r *rig, n int) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		crd, err := r.crd()
		must(r, err)
		w := r.broken(window{settle: crdBound, excused: true, nodesOnly: true})
		must(r, r.api.Delete(r.Context(), crd))
		poll(r.T, patience, "the definition to go", func() bool {
			_, err := r.crd()
			return apierrors.IsNotFound(err)
		})
		pass(3 * time.Second)
		again := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": crd.GetAPIVersion(), "kind": crd.GetKind(), "metadata": map[string]any{"name": crd.GetName()}, "spec": crd.Object["spec"],
		}}
		must(r, r.api.Create(r.Context(), again))
		back := time.Now()
		r.mended(w, back)
		r.over(nil)
		poll(r.T, crdBound, "all DiscoveredNodes", func() bool { return r.observer.nodes.count() >= len(r.fleet.ids())/2 })
		r.Logf("most DiscoveredNodes were back after %s", time.Since(back).Round(time.Millisecond))
	}
	stop()
	r.judge()
}

// deleteNamespace deletes a namespace beside the one that is judged. There is no controller here that empties one, so the
// test does what it would: delete all that is in it, and find nothing that holds it.
func deleteNamespace(r *rig, n int) {
	kube, err := kubernetes.NewForConfig(env.Config)
	must(r, err)
	var others []string
	for range n {
		others = append(others, env.Namespace(r.T))
		r.managerArgs = append(r.managerArgs, "--namespace="+others[len(others)-1])
	}
	r.set(usual())
	stop := r.fleet.churn(busy)
	for _, other := range others {
		r.row.tried++
		r.createObjectsIn(other, usual(), r.proxy.URL())
		poll(r.T, patience, "the other registry's endpoints", func() bool {
			list := &discoveryv1.EndpointSliceList{}
			must(r, r.api.List(r.Context(), list, client.InNamespace(other)))
			return len(list.Items) > 0 && len(list.Items[0].Endpoints) > 0
		})
		must(r, kube.CoreV1().Namespaces().Delete(r.Context(), other, metav1.DeleteOptions{}))
		poll(r.T, patience, "the namespace to be empty", func() bool { return empty(r, other) })
		namespace, err := kube.CoreV1().Namespaces().Get(r.Context(), other, metav1.GetOptions{})
		must(r, err)
		namespace.Spec.Finalizers = nil
		_, err = kube.CoreV1().Namespaces().Finalize(r.Context(), namespace, metav1.UpdateOptions{})
		must(r, err)
		r.over(nil)
	}
	stop()
	r.judge()
}

// empty deletes all that there is in a namespace, and says whether there was nothing left.
func empty(r *rig, namespace string) bool {
	left := 0
	for object, list := range map[client.Object]client.ObjectList{
		&rollcallv1alpha1.NodeRegistry{}:   &rollcallv1alpha1.NodeRegistryList{},
		&rollcallv1alpha1.DiscoveredNode{}: &rollcallv1alpha1.DiscoveredNodeList{},
		&corev1.Service{}:                  &corev1.ServiceList{},
		&discoveryv1.EndpointSlice{}:       &discoveryv1.EndpointSliceList{},
	} {
		must(r, r.api.DeleteAllOf(r.Context(), object, client.InNamespace(namespace)))
		must(r, r.api.List(r.Context(), list, client.InNamespace(namespace)))
		left += meta.LenList(list)
	}
	return left == 0
}
