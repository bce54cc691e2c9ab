package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/kubernetes/pkg/controller/endpointslicemirroring"
)

const (
	defaultMaxEndpointsPerSubset = 1000
	// A failed sync is run again: upstream's recycling fails at random (MI-47).
	maxAttempts = 20
)

type mirroringOptions struct {
	MaxEndpointsPerSubset int32 `json:"maxEndpointsPerSubset"`
	Metrics               bool  `json:"metrics"`
}

type mirroringStep struct {
	commonStep
	Slices json.RawMessage `json:"slices"`
}

type mirroringResult struct {
	Slices []*discoveryv1.EndpointSlice `json:"slices"`
	commonResult
	Attempts int            `json:"attempts"`
	Repaired bool           `json:"repaired,omitempty"`
	Metrics  map[string]any `json:"metrics,omitempty"`
}

// mirroringWorld is the life of one EndpointSliceMirroring controller.
type mirroringWorld struct {
	*world
	sliceInformer informer[discoverylisters.EndpointSliceLister]
	controller    *endpointslicemirroring.Controller
	metrics       bool
}

func runMirroring(in line) (any, error) {
	options := mirroringOptions{MaxEndpointsPerSubset: defaultMaxEndpointsPerSubset}
	if in.Options != nil {
		if err := strict(in.Options, &options); err != nil {
			return nil, fmt.Errorf("options: %w", err)
		}
	}
	if options.MaxEndpointsPerSubset < 1 {
		return nil, errors.New("options.maxEndpointsPerSubset must be at least 1")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &mirroringWorld{
		world: newWorld(), sliceInformer: newInformer(discoverylisters.NewEndpointSliceLister), metrics: options.Metrics,
	}
	w.controller = endpointslicemirroring.NewController(ctx, w.endpointsInformer, w.sliceInformer, w.serviceInformer,
		options.MaxEndpointsPerSubset, w.client(), 0)
	defer shutDown(w.controller, "queue")
	unexported(w.controller, "reconciler", "eventRecorder").Set(reflect.ValueOf(&w.events))
	if w.metrics {
		resetMetrics()
	}
	return runSteps(in.Steps, func(s *mirroringStep) (mirroringResult, error) { return w.step(ctx, s) })
}

func (w *mirroringWorld) step(ctx context.Context, s *mirroringStep) (result mirroringResult, err error) {
	if err := w.observe(&s.commonStep); err != nil {
		return result, err
	}
	if err := w.observeSlices(s.Slices); err != nil {
		return result, fmt.Errorf("slices: %w", err)
	}
	var before snapshot
	if w.metrics {
		before = gather()
	}
	for done := false; !done; done = err == nil || result.Attempts == maxAttempts {
		result.Attempts++
		err = w.sync(ctx)
	}
	if err != nil && w.badlyRecycled() {
		result.Repaired = true
		err = w.repair(ctx)
	}
	if w.metrics {
		result.Metrics = gather().since(before)
	}
	result.Slices, result.commonResult = w.slices.list(), w.result(err)
	return result, nil
}

func (w *mirroringWorld) observeSlices(raw json.RawMessage) error {
	var given []*discoveryv1.EndpointSlice
	isGiven, err := field("list", raw, &given)
	if err != nil || !isGiven {
		return err
	}
	if slices.Contains(given, nil) {
		return errors.New("null in the list")
	}
	if err := w.slices.replace(given); err != nil {
		return err
	}
	w.seeSlices()
	return nil
}

func (w *mirroringWorld) seeSlices() { see(w.sliceInformer.store, w.slices.copies()) }

// sync keeps the events of the last attempt only, as those before it record the same ones.
func (w *mirroringWorld) sync(ctx context.Context) error {
	w.events.seen = []event{}
	err := syncEndpoints(w.controller, ctx, w.key())
	w.seeSlices()
	return err
}

// badlyRecycled tells MI-47's failure from others: a slice that was made an update is still among the creates.
func (w *mirroringWorld) badlyRecycled() bool {
	last := len(w.server.writes) - 1
	if last < 0 {
		return false
	}
	write := w.server.writes[last]
	return write.Verb == "create" && write.Name != "" && write.Error != ""
}

// repair syncs until nothing changes any more, past the create that is too many: with two or more subsets of both
// families hardly any order of Go's maps lets upstream's recycling succeed. The create that got lost instead is made by
// the sync after it.
func (w *mirroringWorld) repair(ctx context.Context) (err error) {
	w.server.forgiving = true
	defer func() { w.server.forgiving = false }()
	for version := int64(-1); err == nil && version != w.server.version; {
		version = w.server.version
		err = w.sync(ctx)
	}
	return err
}
