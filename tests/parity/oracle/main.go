// Command oracle runs the upstream EndpointSlice reconciler (k8s.io/endpointslice) without a server: one JSON line in,
// one JSON line out. It is a test peer of Sliceplane's own core; README.md in this folder describes the protocol.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/klog/v2"
	kjson "sigs.k8s.io/json"
)

const defaultMaxEndpointsPerSlice = 100

type options struct {
	MaxEndpointsPerSlice int32 `json:"maxEndpointsPerSlice"`
	Metrics              bool  `json:"metrics"`
}

type sequence struct {
	Options options `json:"options"`
	Steps   []step  `json:"steps"`
}

// step keeps the objects raw: unknown fields are refused in the protocol itself (a mistyped option would silently test
// something else) but must be accepted inside Kubernetes objects, as every client of the API does.
type step struct {
	Service              json.RawMessage `json:"service"`
	Pods                 json.RawMessage `json:"pods"`
	Nodes                json.RawMessage `json:"nodes"`
	Slices               json.RawMessage `json:"slices"`
	NamespaceTerminating bool            `json:"namespaceTerminating"`
	ServiceDeleted       bool            `json:"serviceDeleted"`
}

type event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type write struct {
	Verb string `json:"verb"`
	Name string `json:"name"`
	// Unconditional marks an update without resourceVersion: a recycled slice.
	Unconditional bool   `json:"unconditional,omitempty"`
	Error         string `json:"error,omitempty"`
}

type stepResult struct {
	Slices     []*discoveryv1.EndpointSlice `json:"slices"`
	Events     []event                      `json:"events"`
	Error      string                       `json:"error"`
	Writes     []write                      `json:"writes"`
	Overloaded []string                     `json:"overloaded,omitempty"`
	Metrics    map[string]any               `json:"metrics,omitempty"`
}

type answer struct {
	Steps []stepResult `json:"steps"`
}

type failure struct {
	Fatal string `json:"fatal"`
}

func main() {
	klog.SetLogger(logr.Discard())
	// Everything allocated for a line is garbage right after it; collecting less often is worth the memory.
	debug.SetGCPercent(400)
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	writer := bufio.NewWriterSize(out, 1<<20)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			if err := encoder.Encode(reply(line)); err != nil {
				return err
			}
			if err := writer.Flush(); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// reply never panics: a panic of the library is a finding about one line and must not end the run.
func reply(line []byte) (result any) {
	defer func() {
		if cause := recover(); cause != nil {
			result = failure{fmt.Sprintf("panic: %v\n%s", cause, debug.Stack())}
		}
	}()
	input, err := parse(line)
	if err != nil {
		return failure{err.Error()}
	}
	results, err := run(input)
	if err != nil {
		return failure{err.Error()}
	}
	return answer{results}
}

func parse(line []byte) (*sequence, error) {
	input := &sequence{Options: options{MaxEndpointsPerSlice: defaultMaxEndpointsPerSlice}}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(input); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value in the line")
	}
	if input.Options.MaxEndpointsPerSlice < 1 {
		return nil, errors.New("options.maxEndpointsPerSlice must be at least 1")
	}
	return input, nil
}

func run(input *sequence) ([]stepResult, error) {
	w := newWorld(input.Options)
	results := make([]stepResult, 0, len(input.Steps))
	for i := range input.Steps {
		if err := w.observe(&input.Steps[i]); err != nil {
			return nil, fmt.Errorf("steps[%d]: %w", i, err)
		}
		results = append(results, w.step(&input.Steps[i]))
	}
	return results, nil
}

// field decodes one object or list of a step; given is false when it is absent or null: "as in the step before".
func field[T any](name string, raw json.RawMessage, into *T) (given bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return false, nil
	}
	var value T
	// Case-sensitive, as Kubernetes decodes; encoding/json would take "Spec" for "spec".
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &value); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	*into = value
	return true, nil
}

// observe brings the API content and the caches to the state before the sync of this step.
func (w *world) observe(s *step) error {
	var nodes []*corev1.Node
	var endpointSlices []*discoveryv1.EndpointSlice
	if _, err := field("service", s.Service, &w.service); err != nil {
		return err
	}
	if w.service == nil {
		return errors.New("the first step needs a service")
	}
	if _, err := field("pods", s.Pods, &w.pods); err != nil {
		return err
	}
	if slices.Contains(w.pods, nil) {
		return errors.New("pods: null in the list")
	}
	w.overloaded = nil
	given, err := field("nodes", s.Nodes, &nodes)
	if err != nil {
		return err
	}
	if given {
		if err := w.setNodes(nodes); err != nil {
			return fmt.Errorf("nodes: %w", err)
		}
	}
	if given, err = field("slices", s.Slices, &endpointSlices); err != nil {
		return err
	}
	if given {
		if err := w.setSlices(endpointSlices); err != nil {
			return fmt.Errorf("slices: %w", err)
		}
	}
	w.api.namespaceTerminating = s.NamespaceTerminating
	return nil
}
