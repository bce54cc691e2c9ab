package main

import (
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corelisters "k8s.io/client-go/listers/core/v1"
)

type commonStep struct {
	Service              json.RawMessage `json:"service"`
	ServiceDeleted       bool            `json:"serviceDeleted"`
	Endpoints            json.RawMessage `json:"endpoints"`
	EndpointsGiven       bool            `json:"endpointsGiven"`
	NamespaceTerminating bool            `json:"namespaceTerminating"`
}

type event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type write struct {
	Verb string `json:"verb"`
	Name string `json:"name"`
	// Unconditional marks an update without resourceVersion.
	Unconditional bool   `json:"unconditional,omitempty"`
	Error         string `json:"error,omitempty"`
}

type commonResult struct {
	Writes []write `json:"writes"`
	Events []event `json:"events"`
	Error  string  `json:"error"`
}

// world is what one line of input builds up around a controller: the API's content, and its caches.
type world struct {
	server    *server
	endpoints *table[*corev1.Endpoints]
	slices    *table[*discoveryv1.EndpointSlice]
	service   *corev1.Service
	events    recorder

	serviceInformer   informer[corelisters.ServiceLister]
	endpointsInformer informer[corelisters.EndpointsLister]
}

func newWorld() *world {
	s := &server{}
	return &world{
		server: s, endpoints: newEndpointsTable(s), slices: newSliceTable(s),
		serviceInformer:   newInformer(corelisters.NewServiceLister),
		endpointsInformer: newInformer(corelisters.NewEndpointsLister),
	}
}

func (w *world) client() *client { return &client{endpoints: w.endpoints, slices: w.slices} }

func (w *world) key() string { return keyOf(w.service) }

// observe brings the API's content and the caches to the state before the sync of this step.
func (w *world) observe(s *commonStep) error {
	if err := w.observeService(s); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if s.EndpointsGiven {
		if err := w.setEndpoints(s.Endpoints); err != nil {
			return fmt.Errorf("endpoints: %w", err)
		}
	}
	w.server.namespaceTerminating = s.NamespaceTerminating
	w.server.writes, w.events.seen = []write{}, []event{}
	w.seeEndpoints()
	return nil
}

func (w *world) observeService(s *commonStep) error {
	before := w.service
	if _, err := field("object", s.Service, &w.service); err != nil {
		return err
	}
	if w.service == nil || w.service.Name == "" || w.service.Namespace == "" {
		return errors.New("the first step needs one, with name and namespace")
	}
	if before != nil && keyOf(before) != keyOf(w.service) {
		return errors.New("a line is about one Service")
	}
	w.endpoints.namespace, w.slices.namespace = w.service.Namespace, w.service.Namespace
	if s.ServiceDeleted {
		see[*corev1.Service](w.serviceInformer.store, nil)
	} else {
		see(w.serviceInformer.store, []*corev1.Service{w.service})
	}
	return nil
}

func (w *world) setEndpoints(raw json.RawMessage) error {
	var endpoints *corev1.Endpoints
	given, err := field("object", raw, &endpoints)
	if err != nil {
		return err
	}
	if !given {
		return w.endpoints.replace(nil)
	}
	if endpoints.Name == "" {
		endpoints.Name = w.service.Name
	}
	if endpoints.Name != w.service.Name {
		return errors.New("not of the Service's name")
	}
	return w.endpoints.replace([]*corev1.Endpoints{endpoints})
}

func (w *world) seeEndpoints() { see(w.endpointsInformer.store, w.endpoints.copies()) }

func (w *world) result(err error) commonResult {
	result := commonResult{Writes: w.server.writes, Events: w.events.seen}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// recorder keeps the events as they are recorded, before client-go's correlator would merge them.
type recorder struct{ seen []event }

func (r *recorder) Event(_ runtime.Object, eventType, reason, message string) {
	r.seen = append(r.seen, event{eventType, reason, message})
}

func (r *recorder) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	r.Event(object, eventType, reason, fmt.Sprintf(format, args...))
}

func (r *recorder) AnnotatedEventf(object runtime.Object, _ map[string]string, eventType, reason, format string, args ...any) {
	r.Eventf(object, eventType, reason, format, args...)
}
