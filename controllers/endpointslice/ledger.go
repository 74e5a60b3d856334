package endpointslice

import (
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"
	"sync/atomic"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// ledger has what is known of the slices of one Service, by name. It is not safe for concurrent use.
type ledger map[string]*known

// known is what is known of one slice.
type known struct {
	// current is the version that plans start from; nil while the slice is being created. The watch replaces it by its own
	// copy of the same version, so that every slice is held in memory once.
	current atomic.Pointer[discoveryv1.EndpointSlice]
	// news is a newer version that somebody else made; it becomes current with the next full pass.
	news *discoveryv1.EndpointSlice
	// gone says that the watch saw the slice deleted, deleted that it was deleted by us or is not ours: its name is taken.
	gone, deleted bool
	// writing says that a write is under way.
	writing bool
}

// newest returns the newest version known.
func (k *known) newest() *discoveryv1.EndpointSlice {
	if k.news != nil {
		return k.news
	}
	return k.current.Load()
}

// newer says whether the first version of a slice is newer than the second.
func newer(a, b *discoveryv1.EndpointSlice) bool {
	if b == nil {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err != nil || order > 0
}

// saw takes in a version of a slice that the watch or a read shows, and says whether it is news.
func (l ledger) saw(slice *discoveryv1.EndpointSlice) bool {
	k := l[slice.Name]
	if k == nil {
		k = &known{}
		l[slice.Name] = k
	}
	current := k.current.Load()
	if current != nil && current.ResourceVersion == slice.ResourceVersion {
		k.current.Store(slice)
	}
	if !newer(slice, k.newest()) || k.deleted && slice.UID == current.UID {
		return false
	}
	k.news, k.gone, k.deleted = slice, false, false
	return !k.writing
}

// lost takes in that a slice is no longer there, and says whether that is news.
func (l ledger) lost(slice *discoveryv1.EndpointSlice) bool {
	k := l[slice.Name]
	if k == nil {
		return false
	}
	if newest := k.newest(); newest != nil && newest.UID != slice.UID {
		return false
	}
	if k.deleted {
		delete(l, slice.Name)
		return false
	}
	k.news, k.gone = nil, true
	return !k.writing
}

// reserve gives a slice that is to be created its name, and takes that name. It is the first free one of a sequence that
// only the Service's UID decides, so whoever does not know of a slice yet tries to create it again rather than another one
// with the same endpoints.
func (l ledger) reserve(k *known, slice *discoveryv1.EndpointSlice, owner *metav1.OwnerReference) {
	for ordinal := len(l); ; ordinal++ {
		if name := sliceName(owner.Name, owner.UID, ordinal); l[name] == nil {
			slice.Name = name
			l[name] = k
			return
		}
	}
}

func sliceName(service string, uid types.UID, ordinal int) string {
	hash := fnv.New32a()
	_, _ = fmt.Fprintf(hash, "%s/%d", uid, ordinal)
	return service + "-" + rand.SafeEncodeString(strconv.FormatUint(uint64(hash.Sum32()), 10))
}

// wrote takes in the API server's answer to a create or an update, and says whether it has been overtaken.
func (k *known) wrote(result *discoveryv1.EndpointSlice) bool {
	k.writing = false
	if k.news != nil && k.news.ResourceVersion == result.ResourceVersion {
		result = k.news
	}
	k.current.Store(result)
	if k.news != nil && !newer(k.news, result) {
		k.news = nil
	}
	return k.news != nil || k.gone
}

// removed takes in that the API server has deleted the slice.
func (l ledger) removed(k *known) {
	k.writing = false
	if k.gone {
		delete(l, k.current.Load().Name)
		return
	}
	k.news, k.deleted = nil, true
}

// catchUp makes all news current. It returns the slices that exist, and those that the watch lost sight of.
func (l ledger) catchUp() (exist, vanished []*known) {
	for name, k := range l {
		switch {
		case k.deleted:
		case k.newest() == nil:
			// Its creation failed.
			delete(l, name)
		case k.gone:
			vanished = append(vanished, k)
		default:
			k.current.Store(k.newest())
			k.news = nil
			exist = append(exist, k)
		}
	}
	return exist, vanished
}

// resolve takes in what a read says of a slice: nil if it does not exist. A slice of that name which is not the Service's
// is left alone, but its name is taken.
func (l ledger) resolve(k *known, live *discoveryv1.EndpointSlice, service types.UID) bool {
	k.writing = false
	current := k.current.Load()
	if live == nil {
		l.drop(k)
		return false
	}
	owner := metav1.GetControllerOfNoCopy(live)
	if (current == nil || current.UID != live.UID) && (owner == nil || owner.UID != service) {
		k.current.Store(live)
		k.news, k.gone, k.deleted = nil, false, true
		return false
	}
	k.gone = false
	if newer(live, k.newest()) {
		k.current.Store(live)
		k.news = nil
	}
	return true
}

func (l ledger) drop(k *known) {
	maps.DeleteFunc(l, func(_ string, other *known) bool { return other == k })
}
