package faults

import (
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	r := &report{seed: 42}
	good := r.add("good")
	good.tried, good.prompt, good.blind = fewest, true, []time.Duration{100 * time.Millisecond, 300 * time.Millisecond}
	good.end(false, time.Second)
	r.add("not run")
	if found := r.complaints(true, 0); len(found) > 0 {
		t.Errorf("complaints: %v", found)
	}
	bad := r.add("bad")
	bad.tried, bad.prompt, bad.blind = 1, true, []time.Duration{2 * time.Second}
	bad.add(verdict{missed: 1})
	bad.end(false, time.Second)
	table := r.table()
	for _, want := range []string{"good | 1000", "300ms", "held", "bad", "2s", "FAILED", "1001 faults in 2 rows", "p99 2s", "Seed 42"} {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "not run") {
		t.Errorf("the table tells of what was not run:\n%s", table)
	}
	if found := r.complaints(true, 0); len(found) != 1 || !strings.Contains(found[0], "blindness") {
		t.Errorf("complaints: %v", found)
	}
	if found := r.complaints(true, 2*time.Second); len(found) > 0 {
		t.Errorf("complaints in spite of the allowance: %v", found)
	}
	good.tried = 1
	if found := r.complaints(true, 0); len(found) != 1 {
		t.Errorf("complaints of a run that was not asked for all: %v", found)
	}
	r.rows = r.rows[:1]
	if found := r.complaints(true, 0); len(found) != 1 || !strings.Contains(found[0], "only 1 faults") {
		t.Errorf("complaints: %v", found)
	}
}

func TestEveryKindOfFailureFailsARow(t *testing.T) {
	for name, v := range map[string]verdict{"removed": {removed: 1}, "missed": {missed: 1}, "stale": {stale: 1}} {
		each := &row{}
		each.add(v)
		if each.end(false, time.Second); !each.failed {
			t.Errorf("%s: the row has not failed", name)
		}
	}
}
