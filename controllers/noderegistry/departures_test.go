package noderegistry

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// answering is a reader whose Get ends with err, or finds an object that is being deleted or not.
type answering struct {
	client.Reader
	err      error
	deleting bool
}

func (a *answering) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if a.deleting {
		o.SetDeletionTimestamp(new(metav1.Now()))
	}
	return a.err
}

func TestDepartures(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{}, "catga")
	reader, clk := &answering{}, testclock.NewFakeClock(epoch)
	d, name := NewDepartures(reader, clk), types.NamespacedName{Namespace: "fleet", Name: "catga"}
	want := func(when string, present bool) {
		t.Helper()
		if d.Present(name) != present {
			t.Errorf("%s: present %t, want %t", when, !present, present)
		}
	}
	want("it exists", true)
	reader.err = gone
	want("gone before this process leads", true)

	called := make(chan struct{})
	awaiting := make(chan error)
	go func() { awaiting <- d.Await(t.Context(), func() { close(called) }) }()
	for !clk.HasWaiters() {
		runtime.Gosched()
	}
	clk.Step(farewell - time.Second)
	want("gone since before the start, in time", true)
	clk.Step(time.Second)
	<-called
	if err := <-awaiting; err != nil {
		t.Error(err)
	}
	want("gone since before the start", false)
	reader.err = errors.New("the cache is not there")
	want("nobody knows", true)

	reader.err = nil
	want("it is back", true)
	reader.deleting = true
	d.note(name)
	want("it is being deleted", true)
	clk.Step(farewell)
	want("a finalizer keeps it", false)
	reader.err = gone
	if rest := d.note(name); rest > 0 {
		t.Errorf("it is waited for again, for %s", rest)
	}
	want("it is over", false)
	d.back(name)
	d.note(name)
	want("it went again", true)
}
