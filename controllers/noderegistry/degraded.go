package noderegistry

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"

	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// restriction is under what a registry works: the reason and message of Degraded; its zero value: nothing.
type restriction struct{ reason, message string }

// degraded says the first restriction, in the order of what it may cost.
func (o *observation) degraded() metav1.Condition {
	const kind = rollcallv1alpha1.ConditionDegraded
	for _, find := range []func() restriction{
		o.recordOutdated, o.held, o.storeRefuses, o.connectionOutdated, o.permissionMissing, o.tooManyNodes,
		o.expressionFailed, o.recordsRefused, o.readingTooSlow, o.contested, o.viewsRefused, o.viewsDisputed, o.flapping,
		o.noExpiry, o.staleAfterTooShort, o.labelNotFound, o.bucketUnfit,
	} {
		if found := find(); found.reason != "" {
			return condition(kind, true, found.reason, found.message)
		}
	}
	return condition(kind, false, rollcallv1alpha1.ReasonAsExpected, "there is no restriction")
}

func (o *observation) held() restriction {
	if o.mirror.Held == nil {
		return restriction{}
	}
	return restriction{heldReason(o.mirror.Held.Reason), o.heldMessage()}
}

func (o *observation) storeRefuses() restriction {
	store := &o.mirror.Bucket.Store
	if store.Refusal == kv.TakesWrites {
		return restriction{}
	}
	return restriction{string(store.Refusal), storeTrouble(rollcallv1alpha1.HeldReason(store.Refusal), store) + ": no node is removed for its silence"}
}

// viewsRefused finds that the API server does not take the DiscoveredNodes.
func (o *observation) viewsRefused() restriction {
	if o.viewRefused == "" {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonViewsRefused, o.viewRefused}
}

// viewsDisputed finds that somebody changes back what is written to the DiscoveredNodes.
func (o *observation) viewsDisputed() restriction {
	if o.viewDisputed == "" {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonViewsDisputed, o.viewDisputed}
}

func (o *observation) connectionOutdated() restriction {
	link := &o.session.link
	if !link.Connected || link.Trouble.Reason == "" {
		return restriction{}
	}
	return restriction{link.Trouble.Reason, "the connection stands, but could not be made again: " + link.Trouble.Message}
}

func (o *observation) permissionMissing() restriction {
	denied, leader := o.denied(), o.mirror.Bucket.Denied
	switch {
	case !o.mirror.Reading:
		return restriction{}
	case denied != "":
		return restriction{rollcallv1alpha1.ReasonPermissionDenied, "the bucket is read, but the server does not let the user " + denied}
	case leader != "":
		return restriction{rollcallv1alpha1.ReasonPermissionDenied, fmt.Sprintf(
			"the bucket is read, but the server does not let the user publish to %q: a node that falls silent is removed without asking the stream's leader for its last heartbeat", natsconn.PlainText(leader))}
	}
	return restriction{}
}

func (o *observation) tooManyNodes() restriction {
	atLeast := ""
	if o.mirror.Bucket.LeftOut {
		atLeast = "at least "
	}
	if o.mirror.Excess == 0 && atLeast == "" {
		return restriction{}
	}
	return restriction{rollcallv1alpha1.ReasonTooManyNodes, fmt.Sprintf(
		"%s%d entries beyond spec.maxNodes are not mirrored: remove entries or raise it", atLeast, max(1, o.mirror.Excess))}
}

// contested finds that somebody else changes back what is written into EndpointSlices.
func (o *observation) contested() restriction {
	c := &o.contest
	switch c.services {
	case 0:
		return restriction{}
	case 1:
		return restriction{rollcallv1alpha1.ReasonChangedBack, fmt.Sprintf("Service %s: %s", c.example, c.remark)}
	}
	return restriction{rollcallv1alpha1.ReasonChangedBack, fmt.Sprintf("%d Services, for example %s: %s", c.services, c.example, c.remark)}
}
