package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/controller/endpoint"
)

type endpointsStep struct {
	commonStep
	Pods json.RawMessage `json:"pods"`
}

type endpointsResult struct {
	Endpoints *corev1.Endpoints `json:"endpoints"`
	commonResult
}

// endpointsWorld is the life of one Endpoints controller.
type endpointsWorld struct {
	*world
	pods        []*corev1.Pod
	podInformer informer[corelisters.PodLister]
	controller  *endpoint.Controller
}

func runEndpoints(in line) (any, error) {
	if in.Options != nil {
		if err := strict(in.Options, &struct{}{}); err != nil {
			return nil, fmt.Errorf("options: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &endpointsWorld{world: newWorld(), podInformer: newInformer(corelisters.NewPodLister)}
	w.controller = endpoint.NewEndpointController(
		ctx, w.podInformer, w.serviceInformer, w.endpointsInformer, w.client(), 0)
	defer shutDown(w.controller, "queue", "podQueue")
	unexported(w.controller, "eventRecorder").Set(reflect.ValueOf(&w.events))
	return runSteps(in.Steps, func(s *endpointsStep) (endpointsResult, error) { return w.step(ctx, s) })
}

func (w *endpointsWorld) step(ctx context.Context, s *endpointsStep) (result endpointsResult, err error) {
	if err := w.observe(&s.commonStep); err != nil {
		return result, err
	}
	if _, err := field("pods", s.Pods, &w.pods); err != nil {
		return result, err
	}
	if slices.Contains(w.pods, nil) {
		return result, errors.New("pods: null in the list")
	}
	see(w.podInformer.store, w.pods)
	err = syncService(w.controller, ctx, w.key())
	w.seeEndpoints()
	return endpointsResult{w.endpoints.objects[w.service.Name], w.result(err)}, nil
}
