package main

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is here mimics the round trip through the server's protobuf storage and an informer: no type, no managed fields,
// and no difference between empty and absent.

func canonicalEndpoints(endpoints *corev1.Endpoints) {
	endpoints.TypeMeta = metav1.TypeMeta{}
	canonicalMeta(&endpoints.ObjectMeta)
	endpoints.Subsets = orNil(endpoints.Subsets)
	for i := range endpoints.Subsets {
		subset := &endpoints.Subsets[i]
		subset.Addresses = orNil(subset.Addresses)
		subset.NotReadyAddresses = orNil(subset.NotReadyAddresses)
		subset.Ports = orNil(subset.Ports)
	}
}

func canonicalSlice(slice *discoveryv1.EndpointSlice) {
	slice.TypeMeta = metav1.TypeMeta{}
	canonicalMeta(&slice.ObjectMeta)
	slice.Endpoints = orNil(slice.Endpoints)
	slice.Ports = orNil(slice.Ports)
}

func canonicalMeta(meta *metav1.ObjectMeta) {
	meta.ManagedFields = nil
	meta.Finalizers = orNil(meta.Finalizers)
	meta.OwnerReferences = orNil(meta.OwnerReferences)
	if len(meta.Labels) == 0 {
		meta.Labels = nil
	}
	if len(meta.Annotations) == 0 {
		meta.Annotations = nil
	}
}

func orNil[E any](list []E) []E {
	if len(list) == 0 {
		return nil
	}
	return list
}

// sliceChanged is the server's test for a new generation (ES-154).
func sliceChanged(a, b *discoveryv1.EndpointSlice) bool {
	return a.AddressType != b.AddressType || !apiequality.Semantic.DeepEqual(a.Labels, b.Labels) ||
		!apiequality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) || !apiequality.Semantic.DeepEqual(a.Ports, b.Ports)
}
