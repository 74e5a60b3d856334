package metrics

import (
	"context"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Client is a client.NewClientFunc whose clients count what they write.
func (m *Metrics) Client(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return m.counting(c), nil
}

// counting returns the client as one that counts what it writes. A write of a subresource counts as one of the object.
func (m *Metrics) counting(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return m.wrote(o, "create", c.Create(ctx, o, opts...))
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return m.wrote(o, "update", c.Update(ctx, o, opts...))
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return m.wrote(o, "patch", c.Patch(ctx, o, patch, opts...))
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return m.wrote(o, "apply", c.Apply(ctx, o, opts...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return m.wrote(o, "delete", c.Delete(ctx, o, opts...))
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return m.wrote(o, "deletecollection", c.DeleteAllOf(ctx, o, opts...))
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, body client.Object, opts ...client.SubResourceCreateOption) error {
			return m.wrote(o, "create", c.SubResource(sub).Create(ctx, o, body, opts...))
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return m.wrote(o, "update", c.SubResource(sub).Update(ctx, o, opts...))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return m.wrote(o, "patch", c.SubResource(sub).Patch(ctx, o, patch, opts...))
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return m.wrote(o, "apply", c.SubResource(sub).Apply(ctx, o, opts...))
		},
	})
}

// wrote counts one write of an object, or of an apply configuration for one, and returns the error it ended with.
func (m *Metrics) wrote(object any, verb string, err error) error {
	m.writes.WithLabelValues(kindOf(object), verb, resultOf(err)).Inc()
	return err
}

// kindOf returns the kind as a label: one of those that Rollcall writes, or else "other".
func kindOf(object any) string {
	name := strings.TrimSuffix(reflect.Indirect(reflect.ValueOf(object)).Type().Name(), "ApplyConfiguration")
	if slices.Contains([]string{"NodeRegistry", "DiscoveredNode", "PodRegistration", "EndpointSlice", "Service", "Pod"}, name) {
		return name
	}
	return "other"
}

// resultOf says how a write ended, as a label.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "success"
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return "conflict"
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err), apierrors.IsUnauthorized(err),
		apierrors.IsMethodNotSupported(err), apierrors.IsRequestEntityTooLargeError(err):
		return "refused"
	default:
		return "error"
	}
}
