package roster

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	cluster = "here"
	other   = "there"
)

// template returns the record of a pod.
func template(t *testing.T, uid, endpoint string) discovery.Template {
	t.Helper()
	record, err := discovery.NewTemplate(discovery.Node{ID: "n", Endpoint: endpoint, Owner: &discovery.Owner{Cluster: cluster, UID: uid}})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func wish(t *testing.T, uid string) *claim {
	t.Helper()
	return &claim{Claim: Claim{ID: ID{UID: types.UID(uid)}, Key: "node.n", Record: template(t, uid, "http://10.0.0.1:80")}}
}

// What becomes of a key, for every state that it can be in.
func TestDecide(t *testing.T) {
	var (
		absent = known{sure: true, revision: 7}
		mine   = known{sure: true, revision: 7, live: true, mine: true, owner: &discovery.Owner{Cluster: cluster, UID: "a"}}
		entry  = func(owner *discovery.Owner, endpoint string) known {
			k := known{sure: true, revision: 7, live: true, owner: owner, value: []byte("{}")}
			if owner != nil {
				k.value = template(t, owner.UID, endpoint).At(time.Now())
			}
			return k
		}
		ours = func(uid string) known {
			return entry(&discovery.Owner{Cluster: cluster, UID: uid}, "http://10.0.0.1:80")
		}
		changed = func(uid string) known {
			return entry(&discovery.Owner{Cluster: cluster, UID: uid}, "http://10.0.0.9:80")
		}
		theirs  = entry(&discovery.Owner{Cluster: other, UID: "a"}, "http://10.0.0.1:80")
		nobodys = entry(nil, "")
		unread  = entry(&discovery.Owner{Cluster: cluster}, "http://10.0.0.1:80")
	)
	settled := view{cluster: cluster, synced: true, settled: true}
	early := view{cluster: cluster, synced: true}
	leaving := view{cluster: cluster, synced: true, settled: true, leaving: true}
	none, one, two := []string{}, []string{"a"}, []string{"a", "b"}
	for name, test := range map[string]struct {
		view     view
		flight   kind
		known    known
		claims   []string
		standing Standing
		want     step
		first    string // who has the key afterwards; empty: the one that had it
	}{
		"a write is under way":              {view: settled, flight: putting, known: mine, claims: one, want: stay},
		"a removal is under way":            {view: settled, flight: removing, known: mine, claims: none, want: stay},
		"the bucket is not listed":          {view: view{cluster: cluster}, known: absent, claims: one, want: stay},
		"nobody knows the last message":     {view: settled, known: known{}, claims: one, want: read},
		"everything goes, and it is mine":   {view: leaving, known: mine, claims: one, want: remove},
		"everything goes, and it is theirs": {view: leaving, known: theirs, claims: one, want: stay},
		"everything goes, and it is gone":   {view: leaving, known: absent, claims: one, want: stay},

		"unwanted and gone":                        {view: settled, known: absent, claims: none, want: forget},
		"unwanted and mine":                        {view: settled, known: mine, claims: none, want: remove},
		"unwanted and mine, before all is settled": {view: early, known: mine, claims: none, want: remove},
		"unwanted and theirs":                      {view: settled, known: theirs, claims: none, standing: Ours, want: forget},
		"unwanted and nobody's":                    {view: settled, known: nobodys, claims: none, standing: Ours, want: forget},
		"unwanted and who knows whose":             {view: settled, known: unread, claims: none, standing: Ours, want: forget},
		"unwanted, of our name, too early to say":  {view: early, known: ours("x"), claims: none, standing: Ours, want: stay},
		"unwanted and left behind by us":           {view: settled, known: ours("x"), claims: none, standing: Ours, want: remove},
		"unwanted and another registry's":          {view: settled, known: ours("x"), claims: none, standing: Elsewhere, want: forget},
		"unwanted, of our name and not ours":       {view: settled, known: ours("x"), claims: none, standing: Unknown, want: suspect},

		"wanted and free":                        {view: settled, known: absent, claims: one, want: put},
		"wanted and free, before all is settled": {view: early, known: absent, claims: one, want: put},
		"wanted and mine":                        {view: early, known: mine, claims: one, want: put},
		"wanted and theirs":                      {view: settled, known: theirs, claims: one, standing: Ours, want: conflict},
		"wanted and nobody's":                    {view: settled, known: nobodys, claims: one, standing: Ours, want: conflict},
		"wanted and who knows whose":             {view: settled, known: unread, claims: one, standing: Ours, want: conflict},

		"the pod's own entry, from before a restart":     {view: early, known: ours("a"), claims: one, want: put},
		"the pod's own entry, changed, too early to say": {view: early, known: changed("a"), claims: one, standing: Ours, want: stay},
		"the pod's own entry, changed":                   {view: settled, known: changed("a"), claims: one, standing: Ours, want: put},
		"the pod's own entry, changed, of who knows":     {view: settled, known: changed("a"), claims: one, standing: Unknown, want: put},
		"the pod's own entry, of another registry":       {view: settled, known: changed("a"), claims: one, standing: Elsewhere, want: conflict},
		"a former pod's entry":                           {view: settled, known: ours("x"), claims: one, standing: Ours, want: put},
		"a former pod's entry, too early to say":         {view: early, known: ours("x"), claims: one, standing: Ours, want: stay},
		"an entry of our name and not ours":              {view: settled, known: ours("x"), claims: one, standing: Unknown, want: conflict},
		"the second of two pods has the key":             {view: early, known: ours("b"), claims: two, want: put, first: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slot{key: "node.n", known: test.known, flight: flight{kind: test.flight}}
			for _, uid := range test.claims {
				s.claims = append(s.claims, wish(t, uid))
			}
			test.view.standing = func(*discovery.Owner) Standing {
				if !test.view.settled {
					t.Error("it was asked whose the entry is before that is known")
				}
				return test.standing
			}
			if test.known.mine {
				s.wrote = template(t, "a", "http://10.0.0.1:80")
			}
			if got := s.decide(&test.view); got != test.want {
				t.Errorf("the step is %d, want %d", got, test.want)
			}
			if test.first != "" && string(s.claims[0].UID) != test.first {
				t.Errorf("%s has the key", s.claims[0].UID)
			}
		})
	}
}

// Of two pods that want one key the older has it, unless the other one has it already.
func TestEnter(t *testing.T) {
	older, younger := wish(t, "older"), wish(t, "younger")
	younger.Created = time.Unix(1, 0)
	for name, test := range map[string]struct {
		known known
		order []*claim
		first string
	}{
		"free, the older comes last":    {known{sure: true}, []*claim{younger, older}, "older"},
		"free, the younger comes last":  {known{sure: true}, []*claim{older, younger}, "older"},
		"taken, the older comes last":   {known{sure: true, live: true, owner: &discovery.Owner{Cluster: cluster, UID: "younger"}}, []*claim{younger, older}, "younger"},
		"taken by neither":              {known{sure: true, live: true, owner: &discovery.Owner{Cluster: other, UID: "x"}}, []*claim{younger, older}, "older"},
		"the first is about to have it": {known{sure: true}, []*claim{younger, older}, "younger"},
	} {
		s := &slot{known: test.known}
		for i, c := range test.order {
			s.enter(c)
			if i == 0 && name == "the first is about to have it" {
				s.flight = flight{kind: putting, claim: c}
			}
		}
		if got := string(s.claims[0].UID); got != test.first || len(s.claims) != 2 {
			t.Errorf("%s: %s has the key", name, got)
		}
		s.exit(s.claims[0].ID)
		if len(s.claims) != 1 || string(s.claims[0].UID) == test.first {
			t.Errorf("%s: exit took out the wrong claim", name)
		}
	}
}
