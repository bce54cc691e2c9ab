package main

import (
	"errors"
	"fmt"
	"sort"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	endpointslice "k8s.io/endpointslice"
	"k8s.io/endpointslice/topologycache"
	endpointsliceutil "k8s.io/endpointslice/util"
)

const controllerName = "endpointslice-controller.k8s.io"

var errStale = errors.New("EndpointSlice informer cache is out of date")

// world is what one line of input builds up: the API's content, and the caches and memory of one controller process.
type world struct {
	api        *api
	service    *corev1.Service
	pods       []*corev1.Pod
	nodes      cache.Indexer
	tracker    *endpointsliceutil.EndpointSliceTracker
	triggers   *endpointsliceutil.TriggerTimeTracker
	topology   *topologycache.TopologyCache
	reconciler *endpointslice.Reconciler
	events     recorder
	overloaded []string
	metrics    bool
}

func newWorld(opts options) *world {
	w := &world{
		api:      newAPI(),
		nodes:    cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{}),
		tracker:  endpointsliceutil.NewEndpointSliceTracker(),
		triggers: endpointsliceutil.NewTriggerTimeTracker(),
		topology: topologycache.NewTopologyCache(),
		metrics:  opts.Metrics,
	}
	if w.metrics {
		resetMetrics()
	}
	// PreferSameTrafficDistribution is locked on in 1.37 (ES-157).
	w.reconciler = endpointslice.NewReconciler(&client{api: w.api}, corelisters.NewNodeLister(w.nodes),
		opts.MaxEndpointsPerSlice, w.tracker, w.topology, &w.events, controllerName,
		endpointslice.WithPreferSameTrafficDistributionEnabled(true))
	return w
}

// step syncs the Service once and lets the slice informer catch up.
func (w *world) step(s *step) stepResult {
	w.api.writes, w.api.deleted, w.events.seen = []write{}, nil, []event{}
	var before snapshot
	if w.metrics {
		before = gather()
	}
	result := stepResult{Overloaded: w.overloaded}
	if err := w.sync(s.ServiceDeleted); err != nil {
		result.Error = err.Error()
	}
	w.forget(w.api.deleted)
	result.Slices, result.Events, result.Writes = w.api.list(w.service.Namespace), w.events.seen, w.api.writes
	if w.metrics {
		result.Metrics = gather().since(before)
	}
	return result
}

// sync does what the controller does with one key of its service queue (ES-32).
func (w *world) sync(serviceDeleted bool) error {
	service := w.service
	if serviceDeleted {
		w.triggers.DeleteService(service.Namespace, service.Name)
		w.reconciler.DeleteService(service.Namespace, service.Name)
		w.tracker.DeleteService(service.Namespace, service.Name)
		return nil
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || service.Spec.Selector == nil {
		return nil
	}
	pods, slices := w.selectedPods(), w.listedSlices()
	if w.tracker.StaleSlices(service, slices) {
		return errStale
	}
	triggerTime := w.triggers.ComputeEndpointLastChangeTriggerTime(service.Namespace, service, pods)
	if err := w.reconciler.Reconcile(logr.Discard(), service, pods, slices, triggerTime); err != nil {
		w.events.Eventf(service, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices",
			"Error updating Endpoint Slices for Service %s/%s: %v", service.Namespace, service.Name, err)
		return err
	}
	return nil
}

// selectedPods keeps the order of the input and, like a cache, only the last of several Pods with one name.
func (w *world) selectedPods() []*corev1.Pod {
	selector := labels.Set(w.service.Spec.Selector).AsSelectorPreValidated()
	last := make(map[types.NamespacedName]int, len(w.pods))
	for i, pod := range w.pods {
		last[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = i
	}
	var found []*corev1.Pod
	for i, pod := range w.pods {
		if pod.Namespace == w.service.Namespace && selector.Matches(labels.Set(pod.Labels)) &&
			last[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] == i {
			found = append(found, pod)
		}
	}
	return found
}

// listedSlices copies: the library sorts the addresses of cached endpoints in place, which must not reach the server.
func (w *world) listedSlices() []*discoveryv1.EndpointSlice {
	var found []*discoveryv1.EndpointSlice
	for _, slice := range w.api.list(w.service.Namespace) {
		if slice.Labels[discoveryv1.LabelServiceName] == w.service.Name &&
			slice.Labels[discoveryv1.LabelManagedBy] == controllerName && slice.DeletionTimestamp == nil {
			found = append(found, slice.DeepCopy())
		}
	}
	return found
}

// forget is the informer's delete handler. Whether it would queue the Service does not matter here: steps say when to sync.
func (w *world) forget(gone []*discoveryv1.EndpointSlice) {
	for _, slice := range gone {
		if w.reconciler.ManagedByController(slice) && w.tracker.Has(slice) {
			w.tracker.HandleDeletion(slice)
		}
	}
}

func (w *world) setSlices(slices []*discoveryv1.EndpointSlice) error {
	gone, err := w.api.replace(slices, w.service.Namespace)
	w.forget(gone)
	return err
}

// setNodes updates the Node cache and runs the topology worker on the changes that would queue it (ES-23, ES-30).
func (w *world) setNodes(nodes []*corev1.Node) error {
	changed := false
	objects := make([]any, 0, len(nodes))
	names := make(map[string]bool, len(nodes))
	for i, node := range nodes {
		if node == nil || node.Name == "" || names[node.Name] {
			return fmt.Errorf("item %d has no name, or one that is there twice", i)
		}
		names[node.Name] = true
		node.Namespace = ""
		objects = append(objects, node)
		old, known, err := w.nodes.GetByKey(node.Name)
		if err != nil {
			return err
		}
		changed = changed || !known || topologyChanged(old.(*corev1.Node), node)
	}
	changed = changed || len(w.nodes.ListKeys()) != len(nodes)
	if err := w.nodes.Replace(objects, ""); err != nil || !changed {
		return err
	}
	w.topology.SetNodes(logr.Discard(), nodes)
	w.overloaded = w.topology.GetOverloadedServices()
	sort.Strings(w.overloaded)
	return nil
}

func topologyChanged(old, now *corev1.Node) bool {
	return nodeReady(old) != nodeReady(now) || old.Labels[corev1.LabelTopologyZone] != now.Labels[corev1.LabelTopologyZone]
}

func nodeReady(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if condition := &node.Status.Conditions[i]; condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// recorder keeps the events of one step as they are recorded, before client-go's correlator would merge them.
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
