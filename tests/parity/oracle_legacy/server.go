package main

import (
	"fmt"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The API server cuts generateName here before it appends its suffix.
const maxGeneratedPrefix = 58

// The server's clock stands still, so that equal input gives equal output.
var serverTime = metav1.NewTime(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))

type object interface {
	metav1.Object
	runtime.Object
}

// server is what a kube-apiserver's resources have in common. With its tables it stands in for client-go's fake
// clientset, whose object tracker knows nothing of generations, generated names or conflicts.
type server struct {
	version              int64
	generated            int
	namespaceTerminating bool
	// forgiving makes a create under a name that is taken an update.
	forgiving bool
	// writes cover the current step.
	writes []write
}

func (s *server) nextVersion() string {
	s.version++
	return strconv.FormatInt(s.version, 10)
}

// seen keeps later versions different from those that came with given objects.
func (s *server) seen(version string) {
	if number, err := strconv.ParseInt(version, 10, 64); err == nil {
		s.version = max(s.version, number)
	}
}

func (s *server) note(verb, name string, unconditional bool, err error) {
	entry := write{Verb: verb, Name: name, Unconditional: unconditional}
	if err != nil {
		entry.Error = err.Error()
	}
	s.writes = append(s.writes, entry)
}

// table holds the objects of one resource in one namespace, by name.
type table[T object] struct {
	server    *server
	namespace string
	resource  schema.GroupResource
	canonical func(T)
	// changed is the server's test for a new generation; nil for a resource without generations.
	changed func(a, b T) bool
	objects map[string]T
}

func newEndpointsTable(s *server) *table[*corev1.Endpoints] {
	return &table[*corev1.Endpoints]{
		server: s, resource: corev1.Resource("endpoints"), canonical: canonicalEndpoints,
		objects: map[string]*corev1.Endpoints{},
	}
}

func newSliceTable(s *server) *table[*discoveryv1.EndpointSlice] {
	return &table[*discoveryv1.EndpointSlice]{
		server: s, resource: discoveryv1.Resource("endpointslices"), canonical: canonicalSlice, changed: sliceChanged,
		objects: map[string]*discoveryv1.EndpointSlice{},
	}
}

// list returns the stored objects themselves, sorted by name; callers must not change them.
func (t *table[T]) list() []T {
	found := make([]T, 0, len(t.objects))
	for _, each := range t.objects {
		found = append(found, each)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].GetName() < found[j].GetName() })
	return found
}

// copies is what an informer would see.
func (t *table[T]) copies() []T {
	found := t.list()
	for i, each := range found {
		found[i] = each.DeepCopyObject().(T)
	}
	return found
}

// replace makes the given objects the whole content, as if others had written them. Metadata that the server would
// have set is filled in where the caller left it out.
func (t *table[T]) replace(objects []T) error {
	content := make(map[string]T, len(objects))
	for i, each := range objects {
		if each.GetName() == "" {
			return fmt.Errorf("item %d has no name", i)
		}
		if _, twice := content[each.GetName()]; twice {
			return fmt.Errorf("%s is there twice", each.GetName())
		}
		if each.GetNamespace() == "" {
			each.SetNamespace(t.namespace)
		}
		if each.GetNamespace() != t.namespace {
			return fmt.Errorf("%s is not in namespace %s", each.GetName(), t.namespace)
		}
		t.server.seen(each.GetResourceVersion())
		content[each.GetName()] = each
	}
	for _, each := range objects {
		t.canonical(each)
		t.fillIn(each)
	}
	t.objects = content
	return nil
}

func (t *table[T]) fillIn(given T) {
	old, exists := t.objects[given.GetName()]
	exists = exists && (given.GetUID() == "" || given.GetUID() == old.GetUID())
	if given.GetUID() == "" {
		given.SetUID(types.UID("uid-" + given.GetName()))
		if exists {
			given.SetUID(old.GetUID())
		}
	}
	if t.changed != nil && given.GetGeneration() == 0 {
		given.SetGeneration(1)
		if exists {
			given.SetGeneration(old.GetGeneration())
			if t.changed(given, old) {
				given.SetGeneration(old.GetGeneration() + 1)
			}
		}
	}
	if created := given.GetCreationTimestamp(); created.IsZero() && exists {
		given.SetCreationTimestamp(old.GetCreationTimestamp())
	}
	if given.GetResourceVersion() == "" {
		given.SetResourceVersion(t.server.nextVersion())
	}
}

// copy undoes any sharing of pointers within an object, as the way over the wire does.
func (t *table[T]) copy(in T) T {
	made := in.DeepCopyObject().(T)
	made.SetNamespace(t.namespace)
	t.canonical(made)
	return made
}

func (t *table[T]) create(in T) (T, error) {
	var none T
	_, taken := t.objects[in.GetName()]
	if taken && t.server.forgiving {
		return t.update(in)
	}
	if t.server.namespaceTerminating {
		return none, namespaceTerminating(t.resource, t.namespace)
	}
	if taken {
		return none, apierrors.NewAlreadyExists(t.resource, in.GetName())
	}
	made := t.copy(in)
	if made.GetName() == "" {
		t.generateName(made)
	}
	made.SetUID(types.UID("uid-" + made.GetName()))
	if t.changed != nil {
		made.SetGeneration(1)
	}
	made.SetCreationTimestamp(serverTime)
	made.SetResourceVersion(t.server.nextVersion())
	t.put(made)
	return made, nil
}

func (t *table[T]) put(made T) { t.objects[made.GetName()] = made }

func (t *table[T]) generateName(made T) {
	prefix := made.GetGenerateName()
	prefix = prefix[:min(len(prefix), maxGeneratedPrefix)]
	for exists := true; exists; _, exists = t.objects[made.GetName()] {
		t.server.generated++
		made.SetName(fmt.Sprintf("%sg%05d", prefix, t.server.generated))
	}
}

func namespaceTerminating(resource schema.GroupResource, namespace string) error {
	err := apierrors.NewForbidden(resource, "",
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", namespace),
		Field:   "metadata.namespace",
	})
	return err
}

func (t *table[T]) update(in T) (T, error) {
	var none T
	made := t.copy(in)
	old, exists := t.objects[made.GetName()]
	if !exists {
		return none, apierrors.NewNotFound(t.resource, made.GetName())
	}
	if version := made.GetResourceVersion(); version != "" && version != old.GetResourceVersion() ||
		made.GetUID() != "" && made.GetUID() != old.GetUID() {
		return none, apierrors.NewConflict(t.resource, made.GetName(), fmt.Errorf("the object has been modified"))
	}
	made.SetUID(old.GetUID())
	made.SetResourceVersion(old.GetResourceVersion())
	made.SetGeneration(old.GetGeneration())
	if created := made.GetCreationTimestamp(); created.IsZero() {
		made.SetCreationTimestamp(old.GetCreationTimestamp())
	}
	if old.GetDeletionTimestamp() != nil {
		made.SetDeletionTimestamp(old.GetDeletionTimestamp())
		made.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
	if t.changed != nil && t.changed(made, old) {
		made.SetGeneration(old.GetGeneration() + 1)
	}
	if !apiequality.Semantic.DeepEqual(made, old) {
		made.SetResourceVersion(t.server.nextVersion())
	}
	if made.GetDeletionTimestamp() != nil && len(made.GetFinalizers()) == 0 {
		delete(t.objects, made.GetName()) // nothing holds it any longer
	} else {
		t.put(made)
	}
	return made, nil
}

func (t *table[T]) delete(name string) error {
	old, exists := t.objects[name]
	switch {
	case !exists:
		return apierrors.NewNotFound(t.resource, name)
	case len(old.GetFinalizers()) == 0:
		delete(t.objects, name)
	case old.GetDeletionTimestamp() == nil:
		made := t.copy(old)
		made.SetDeletionTimestamp(&serverTime)
		made.SetDeletionGracePeriodSeconds(new(int64))
		if t.changed != nil {
			made.SetGeneration(old.GetGeneration() + 1)
		}
		made.SetResourceVersion(t.server.nextVersion())
		t.put(made)
	}
	return nil
}
