package dispute

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var began = time.Unix(1_000_000, 0)

// An editor who answers each repair at once gets few of them.
func TestRepairsAgainstAnEditorThatNeverGivesUp(t *testing.T) {
	f, now, repairs := Fight{}, began, 0
	for ; now.Before(began.Add(time.Hour)); now = now.Add(100 * time.Millisecond) {
		if f.Wait(now) > 0 {
			continue
		}
		f.Repaired(now)
		repairs++
		if got, want := f.Persists(now), repairs >= persistent; got != want {
			t.Fatalf("after %d repairs it persists: %t", repairs, got)
		}
	}
	// 1, 2, 4, 8, 16 and 32 seconds, and then each minute.
	if repairs < 60 || repairs > 67 {
		t.Errorf("there were %d repairs in an hour", repairs)
	}
	if f.Over(now) || f.Wait(now) > Most {
		t.Errorf("it is over: %t, and the next waits for %s", f.Over(now), f.Wait(now))
	}
}

func TestEditsByHandAreRepairedAtOnce(t *testing.T) {
	f := Fight{}
	for i, after := range []time.Duration{0, 0, 10 * time.Second} {
		now := began.Add(after)
		if wait := f.Wait(now); wait > 0 {
			t.Errorf("the repair of the %d. edit waits for %s", i+1, wait)
		}
		f.Repaired(now)
	}
	if now := began.Add(10 * time.Second); f.Persists(now) || f.Left(now) != Calm {
		t.Errorf("three edits persist: %t, and are forgotten after %s", f.Persists(now), f.Left(now))
	}
}

func TestAFightIsForgotten(t *testing.T) {
	f, now := Fight{}, began
	for range 20 {
		now = now.Add(f.Wait(now))
		f.Repaired(now)
	}
	if now = now.Add(Calm - 1); !f.Persists(now) || f.Over(now) {
		t.Error("it is over too early")
	}
	if now = now.Add(1); f.Persists(now) || !f.Over(now) || f.Wait(now) > 0 {
		t.Error("it is not over")
	}
	f.Repaired(now)
	f.Repaired(now)
	if wait := f.Wait(now); wait != Least {
		t.Errorf("the next fight begins with %s", wait)
	}
}

func TestEditor(t *testing.T) {
	by := func(manager string, second int64) metav1.ManagedFieldsEntry {
		at := metav1.Unix(second, 0)
		return metav1.ManagedFieldsEntry{Manager: manager, Time: &at}
	}
	for name, test := range map[string]struct {
		fields []metav1.ManagedFieldsEntry
		want   string
	}{
		"nobody":                  {nil, ""},
		"Rollcall alone":          {[]metav1.ManagedFieldsEntry{by("rollcall", 1)}, ""},
		"somebody":                {[]metav1.ManagedFieldsEntry{by("rollcall", 3), by("argocd", 2)}, "argocd"},
		"the last":                {[]metav1.ManagedFieldsEntry{by("kubectl-edit", 2), by("argocd", 4), by("rollcall", 5), by("helm", 3)}, "argocd"},
		"one without a time":      {[]metav1.ManagedFieldsEntry{{Manager: "argocd"}}, "argocd"},
		"entries without manager": {[]metav1.ManagedFieldsEntry{{}, by("", 3)}, ""},
	} {
		if got := Editor(test.fields, "rollcall"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
