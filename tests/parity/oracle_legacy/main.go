// Command oracle_legacy runs two of kube-controller-manager's own controllers, Endpoints and EndpointSliceMirroring,
// without a server: one JSON line in, one JSON line out. It is a test peer of Sliceplane's own core; README.md in this
// folder describes the protocol.
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

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/v1/endpoints"
	kjson "sigs.k8s.io/json"
)

// line keeps its parts raw: what may be in them depends on the controller.
type line struct {
	Controller string          `json:"controller"`
	Options    json.RawMessage `json:"options"`
	Steps      json.RawMessage `json:"steps"`
	Repack     json.RawMessage `json:"repack"`
}

type stepsAnswer[R any] struct {
	Steps []R `json:"steps"`
}

type repackAnswer struct {
	Subsets []corev1.EndpointSubset `json:"subsets"`
}

type failure struct {
	Fatal string `json:"fatal"`
}

func main() {
	klog.SetLogger(logr.Discard())
	// They log, and then sleep lest they flood the log.
	utilruntime.ErrorHandlers = nil
	// Everything allocated for a line is garbage right after it; collecting less often is worth the memory.
	debug.SetGCPercent(400)
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oracle_legacy:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	writer := bufio.NewWriterSize(out, 1<<20)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for {
		text, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(text) > 0 {
			if err := encoder.Encode(reply(text)); err != nil {
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

// reply never panics: a panic of a controller is a finding about one line and must not end the run.
func reply(text []byte) (result any) {
	defer func() {
		if cause := recover(); cause != nil {
			result = failure{fmt.Sprintf("panic: %v\n%s", cause, debug.Stack())}
		}
	}()
	result, err := answer(text)
	if err != nil {
		return failure{err.Error()}
	}
	return result
}

func answer(text []byte) (any, error) {
	var in line
	if err := strict(text, &in); err != nil {
		return nil, err
	}
	if (in.Controller == "") == (in.Repack == nil) {
		return nil, errors.New("the line needs either controller or repack")
	}
	switch in.Controller {
	case "":
		return repack(in.Repack)
	case "endpoints":
		return runEndpoints(in)
	case "mirroring":
		return runMirroring(in)
	}
	return nil, fmt.Errorf("there is no controller %q", in.Controller)
}

func repack(raw json.RawMessage) (any, error) {
	var subsets []corev1.EndpointSubset
	if _, err := field("repack", raw, &subsets); err != nil {
		return nil, err
	}
	return repackAnswer{endpoints.RepackSubsets(subsets)}, nil
}

// runSteps hands each step to a controller's world, in order.
func runSteps[S, R any](raw json.RawMessage, do func(*S) (R, error)) (any, error) {
	var steps []S
	if err := strict(raw, &steps); err != nil {
		return nil, fmt.Errorf("steps: %w", err)
	}
	results := make([]R, 0, len(steps))
	for i := range steps {
		result, err := do(&steps[i])
		if err != nil {
			return nil, fmt.Errorf("steps[%d]: %w", i, err)
		}
		results = append(results, result)
	}
	return stepsAnswer[R]{results}, nil
}

// strict refuses unknown fields: a mistyped one in the protocol would silently test something else.
func strict(text []byte, into any) error {
	if len(text) == 0 {
		return errors.New("missing")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value in the line")
	}
	return nil
}

// field decodes Kubernetes objects, whose unknown fields every client of the API accepts; given is false when there is
// nothing or null.
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
