package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// informer is one that nobody starts. It has the controller's real listers and calls the controller's real handlers, but
// the world says what it sees. Lists keep the order in which things were seen, so that equal input gives equal output.
// What is not implemented stays nil: a controller that calls it is a surprise that the line reports as a panic.
type informer[L any] struct {
	store  *store
	lister L
}

func newInformer[L any](newLister func(cache.Indexer) L) informer[L] {
	s := &store{}
	return informer[L]{s, newLister(s)}
}

func (i informer[L]) Informer() cache.SharedIndexInformer { return &subscription{store: i.store} }

func (i informer[L]) Lister() L { return i.lister }

type subscription struct {
	cache.SharedIndexInformer
	store *store
}

func (s *subscription) AddEventHandler(
	handler cache.ResourceEventHandler,
) (cache.ResourceEventHandlerRegistration, error) {
	s.store.handler = handler
	return nil, nil
}

func (s *subscription) HasSynced() bool { return true }

type store struct {
	cache.Indexer
	handler cache.ResourceEventHandler
	order   []object
	byKey   map[string]object
}

func (s *store) GetByKey(key string) (any, bool, error) {
	found, exists := s.byKey[key]
	return found, exists, nil
}

// Index is only called for the namespace index.
func (s *store) Index(_ string, like any) ([]any, error) {
	namespace := like.(*metav1.ObjectMeta).Namespace
	found := make([]any, 0, len(s.order))
	for _, each := range s.order {
		if each.GetNamespace() == namespace {
			found = append(found, each)
		}
	}
	return found, nil
}

func keyOf(o object) string { return o.GetNamespace() + "/" + o.GetName() }

// see makes these the whole content of the cache, of several with one name the last, and tells the handlers.
func see[T object](s *store, objects []T) {
	before := s.byKey
	s.order, s.byKey = make([]object, 0, len(objects)), make(map[string]object, len(objects))
	for _, each := range objects {
		s.byKey[keyOf(each)] = each
	}
	for _, each := range objects {
		if s.byKey[keyOf(each)] == object(each) {
			s.order = append(s.order, each)
		}
	}
	s.tell(before)
}

func (s *store) tell(before map[string]object) {
	for key, old := range before {
		if now, exists := s.byKey[key]; !exists || now.GetUID() != old.GetUID() {
			s.handler.OnDelete(old)
		}
	}
	for _, now := range s.order {
		old, exists := before[keyOf(now)]
		switch {
		case !exists || now.GetUID() != old.GetUID():
			s.handler.OnAdd(now, false)
		case now.GetResourceVersion() != old.GetResourceVersion():
			s.handler.OnUpdate(old, now)
		}
	}
}
