package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// restoredBound is how long the endpoints may be wrong after an older state was put back: until the manager has noticed, was started
// again, and has given those who are silent their grace.
const restoredBound = 45 * time.Second

// restoreEtcd puts an older state of etcd back under the manager. Five nodes have died since, and five others joined. If past, etcd has
// written more than it ever had before the manager reaches it again.
func restoreEtcd(r *rig, n int, past bool) {
	liar := newLiar(r.T, env)
	r.kubeconfig = liar.kubeconfig(r.T)
	r.set(usual())
	etcd, err := env.Etcd()
	must(r, err)
	data, backup := etcd.Flag("data-dir"), filepath.Join(r.TempDir(), "backup")
	for range n {
		r.row.tried++
		w := r.broken(window{excused: true, settle: restoredBound})
		must(r, etcd.Kill())
		must(r, os.RemoveAll(backup))
		must(r, os.CopyFS(backup, os.DirFS(data)))
		must(r, etcd.Start())
		r.answers()
		for _, id := range r.fleet.ids()[:5] {
			r.fleet.die(id)
		}
		r.fleet.join(5)
		r.settle()

		if !past {
			// What an API server writes when it starts must not be as much.
			r.writePast(r.revision() + 500)
		}
		reached := r.revision()
		must(r, apiServer(r).Kill())
		must(r, etcd.Kill())
		must(r, os.RemoveAll(data))
		must(r, os.CopyFS(data, os.DirFS(backup)))
		if past {
			liar.refusing(func(*http.Request) int { return http.StatusServiceUnavailable })
		}
		must(r, etcd.Start())
		must(r, apiServer(r).Start())
		r.answers()
		r.Logf("the state went back from revision %d to %d", reached, r.revision())
		if past {
			r.writePast(reached + 100)
		}
		liar.refusing(nil)
		restored := time.Now()
		r.mended(w, restored)
		r.ends(past)
		r.Logf("the manager has ended after %s", time.Since(restored).Round(time.Millisecond))
		r.begin()
		poll(r.T, time.Until(restored.Add(restoredBound)), "the endpoints to be those of the bucket", func() bool { return r.shown(r.observer.endpoints) })
		r.row.blind = append(r.row.blind, time.Since(restored))
		r.settle()
		r.linger()
		if !r.manager.alive() {
			r.Fatal("the manager has ended once more")
		}
	}
	r.judge()
}

// revision returns the revision of the API server's state.
func (r *rig) revision() int {
	r.Helper()
	list := &corev1.ConfigMapList{}
	must(r, r.api.List(r.Context(), list, client.InNamespace(r.namespace)))
	revision, err := strconv.Atoi(list.ResourceVersion)
	must(r, err)
	return revision
}

// writePast writes until the API server's state has a later revision.
func (r *rig) writePast(revision int) {
	r.Helper()
	written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, GenerateName: "written-"}}
	must(r, r.api.Create(r.Context(), written))
	for i := 0; r.revision() <= revision; i++ {
		written.Data = map[string]string{"n": strconv.Itoa(i)}
		must(r, r.api.Update(r.Context(), written))
	}
}

// ends waits until the manager has ended because the state went back, and says so.
func (r *rig) ends(past bool) {
	r.Helper()
	poll(r.T, restoredBound, "the manager to end", func() bool { return !r.manager.alive() })
	text, err := os.ReadFile(filepath.Join(r.dir, "manager.log"))
	must(r, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "restored from a backup") || strings.Contains(last, "was at") == past {
		r.Errorf("the manager has ended with %s", last)
	}
}
