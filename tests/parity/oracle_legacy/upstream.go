package main

import (
	"context"
	"reflect"
	_ "unsafe" // for go:linkname

	"k8s.io/kubernetes/pkg/controller/endpoint"
	"k8s.io/kubernetes/pkg/controller/endpointslicemirroring"
)

// The controllers export only Run, which syncs when queues and clocks say so. These are what its workers call.

//go:linkname syncService k8s.io/kubernetes/pkg/controller/endpoint.(*Controller).syncService
func syncService(c *endpoint.Controller, ctx context.Context, key string) error

//go:linkname syncEndpoints k8s.io/kubernetes/pkg/controller/endpointslicemirroring.(*Controller).syncEndpoints
func syncEndpoints(c *endpointslicemirroring.Controller, ctx context.Context, key string) error

// unexported is the field of a struct at the end of a path of field names, to be read and set.
func unexported(root any, path ...string) reflect.Value {
	value := reflect.ValueOf(root)
	for _, name := range path {
		value = value.Elem().FieldByName(name)
		value = reflect.NewAt(value.Type(), value.Addr().UnsafePointer()).Elem()
	}
	return value
}

// shutDown ends the goroutines of a controller's work queues, which otherwise only Run does.
func shutDown(controller any, queues ...string) {
	for _, name := range queues {
		unexported(controller, name).Interface().(interface{ ShutDown() }).ShutDown()
	}
}
