package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
)

// client is the part of a clientset that the controllers may use. The interfaces stay nil: any other call is a surprise
// that the line reports as a panic.
type client struct {
	kubernetes.Interface
	endpoints *table[*corev1.Endpoints]
	slices    *table[*discoveryv1.EndpointSlice]
}

func (c *client) CoreV1() coreclient.CoreV1Interface { return &core{client: c} }

func (c *client) DiscoveryV1() discoveryclient.DiscoveryV1Interface { return &discovery{client: c} }

type core struct {
	coreclient.CoreV1Interface
	client *client
}

func (c *core) Endpoints(string) coreclient.EndpointsInterface {
	return &endpointsClient{requests: requests[*corev1.Endpoints]{c.client.endpoints}}
}

type discovery struct {
	discoveryclient.DiscoveryV1Interface
	client *client
}

func (d *discovery) EndpointSlices(string) discoveryclient.EndpointSliceInterface {
	return &sliceClient{requests: requests[*discoveryv1.EndpointSlice]{d.client.slices}}
}

type endpointsClient struct {
	requests[*corev1.Endpoints]
	otherEndpoints
}

type sliceClient struct {
	requests[*discoveryv1.EndpointSlice]
	otherSlices
}

// One level deeper than the requests, so that those win over the methods of the same name here.
type (
	otherEndpoints struct{ coreclient.EndpointsInterface }
	otherSlices    struct {
		discoveryclient.EndpointSliceInterface
	}
)

// requests answer with the stored object: the controllers only read its metadata.
type requests[T object] struct{ table *table[T] }

func (r requests[T]) Create(_ context.Context, in T, _ metav1.CreateOptions) (T, error) {
	stored, err := r.table.create(in)
	name := in.GetName()
	if err == nil {
		name = stored.GetName()
	}
	r.table.server.note("create", name, false, err)
	return stored, err
}

func (r requests[T]) Update(_ context.Context, in T, _ metav1.UpdateOptions) (T, error) {
	stored, err := r.table.update(in)
	r.table.server.note("update", in.GetName(), in.GetResourceVersion() == "", err)
	return stored, err
}

func (r requests[T]) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	err := r.table.delete(name)
	r.table.server.note("delete", name, false, err)
	return err
}
