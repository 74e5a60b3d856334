package natsconn

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

func violationOf(what string) error {
	return fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, what)
}

func TestDenialOf(t *testing.T) {
	for said, want := range map[string]Denial{
		`Publish to "$JS.API.STREAM.INFO.KV_b"`:                              {Subject: "$JS.API.STREAM.INFO.KV_b", Bucket: "b"},
		`Publish to "$JS.API.CONSUMER.CREATE.KV_b.rollcall_x1.$KV.b.node.>"`: {Subject: "$JS.API.CONSUMER.CREATE.KV_b.>", Bucket: "b"},
		`Publish to "$JS.hub.API.CONSUMER.DELETE.KV_b.rollcall_x2"`:          {Subject: "$JS.hub.API.CONSUMER.DELETE.KV_b.>", Bucket: "b"},
		`Publish to "$KV.b.node.web-1"`:                                      {Subject: "$KV.b.>", Bucket: "b"},
		`Publish to "$JS.API.INFO"`:                                          {Subject: "$JS.API.INFO"},
		`Subscription to "_INBOX.abc.*"`:                                     {Subject: "_INBOX.>", Subscribe: true},
		`Subscription to "_INBOX.abc" using queue "q"`:                       {Subject: "_INBOX.>", Subscribe: true},
		`Subscription to "_INBOX.abc.*" (sid "3")`:                           {Subject: "_INBOX.>", Subscribe: true},
		`Subscription to "_INBOX_other.abc"`:                                 {Subject: "_INBOX_other.abc", Subscribe: true},
		`Publish to "$JS.FC.KV_b.rollcall_x3.y"`:                             {Subject: "$JS.FC.KV_b.>", Bucket: "b"},
		`Publish to "$JS.API.STREAM.MSG.GET.KV_catga_nodes"`:                 {Subject: "$JS.API.STREAM.MSG.GET.KV_catga_nodes", Bucket: "catga_nodes"},
	} {
		if got, ok := denialOf(violationOf(said), "_INBOX"); !ok || got != want {
			t.Errorf("%s is %+v, %t, want %+v", said, got, ok, want)
		}
	}
	for _, other := range []error{nil, errors.New("anything"), violationOf("something new")} {
		if got, ok := denialOf(other, "_INBOX"); ok {
			t.Errorf("%v is %+v", other, got)
		}
	}
}
