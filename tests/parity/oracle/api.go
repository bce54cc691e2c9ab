package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
)

// The API server cuts generateName here before it appends its suffix.
const maxGeneratedPrefix = 58

var (
	sliceResource = discoveryv1.Resource("endpointslices")
	// The server's clock stands still, so that equal input gives equal output.
	serverTime = metav1.NewTime(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
)

// api holds EndpointSlices as a kube-apiserver would, as far as the controller can tell. It stands in for client-go's
// fake clientset, whose object tracker knows nothing of generations, generated names or conflicts.
type api struct {
	slices               map[types.NamespacedName]*discoveryv1.EndpointSlice
	version              int64
	generated            int
	namespaceTerminating bool
	// writes and deleted cover the current step.
	writes  []write
	deleted []*discoveryv1.EndpointSlice
}

func newAPI() *api {
	return &api{slices: map[types.NamespacedName]*discoveryv1.EndpointSlice{}}
}

func key(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name}
}

func (a *api) nextVersion() string {
	a.version++
	return strconv.FormatInt(a.version, 10)
}

// list returns the stored objects themselves, sorted by name; callers must not change them.
func (a *api) list(namespace string) []*discoveryv1.EndpointSlice {
	found := make([]*discoveryv1.EndpointSlice, 0, len(a.slices))
	for name, slice := range a.slices {
		if name.Namespace == namespace {
			found = append(found, slice)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found
}

// canonical mimics the round trip through the server's protobuf storage and an informer: no type, no managed fields,
// and no difference between empty and absent.
func canonical(slice *discoveryv1.EndpointSlice) {
	slice.TypeMeta = metav1.TypeMeta{}
	slice.ManagedFields = nil
	if len(slice.Endpoints) == 0 {
		slice.Endpoints = nil
	}
	if len(slice.Ports) == 0 {
		slice.Ports = nil
	}
	if len(slice.Labels) == 0 {
		slice.Labels = nil
	}
	if len(slice.Annotations) == 0 {
		slice.Annotations = nil
	}
	if len(slice.OwnerReferences) == 0 {
		slice.OwnerReferences = nil
	}
}

// contentChanged is the server's test for a new generation (ES-154).
func contentChanged(a, b *discoveryv1.EndpointSlice) bool {
	return a.AddressType != b.AddressType || !apiequality.Semantic.DeepEqual(a.Labels, b.Labels) ||
		!apiequality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) || !apiequality.Semantic.DeepEqual(a.Ports, b.Ports)
}

// replace makes the given slices the whole content, as if others had written them, and returns those that went away.
// Metadata that the server would have set is filled in where the caller left it out.
func (a *api) replace(slices []*discoveryv1.EndpointSlice, namespace string) ([]*discoveryv1.EndpointSlice, error) {
	content := make(map[types.NamespacedName]*discoveryv1.EndpointSlice, len(slices))
	for i, slice := range slices {
		if slice == nil || slice.Name == "" {
			return nil, fmt.Errorf("item %d has no name", i)
		}
		if slice.Namespace == "" {
			slice.Namespace = namespace
		}
		canonical(slice)
		if content[key(slice)] != nil {
			return nil, fmt.Errorf("%s is there twice", key(slice))
		}
		old := a.slices[key(slice)]
		if old != nil && slice.UID != "" && slice.UID != old.UID {
			old = nil
		}
		a.fillIn(slice, old)
		content[key(slice)] = slice
	}
	var gone []*discoveryv1.EndpointSlice
	for name, old := range a.slices {
		if now := content[name]; now == nil || now.UID != old.UID {
			gone = append(gone, old)
		}
	}
	a.slices = content
	return gone, nil
}

func (a *api) fillIn(slice, old *discoveryv1.EndpointSlice) {
	if slice.UID == "" {
		slice.UID = types.UID("uid-" + slice.Name)
		if old != nil {
			slice.UID = old.UID
		}
	}
	if slice.Generation == 0 {
		slice.Generation = 1
		if old != nil {
			slice.Generation = old.Generation
			if contentChanged(slice, old) {
				slice.Generation++
			}
		}
	}
	if slice.CreationTimestamp.IsZero() && old != nil {
		slice.CreationTimestamp = old.CreationTimestamp
	}
	if slice.ResourceVersion == "" {
		slice.ResourceVersion = a.nextVersion()
	}
}

func (a *api) note(verb, name string, unconditional bool, err error) {
	entry := write{Verb: verb, Name: name, Unconditional: unconditional}
	if err != nil {
		entry.Error = err.Error()
	}
	a.writes = append(a.writes, entry)
}

// client is the part of a clientset that the reconciler may use. The interfaces stay nil: any other call is a surprise
// that the line reports as a panic.
type client struct {
	kubernetes.Interface
	discoveryclient.DiscoveryV1Interface
	api *api
}

func (c *client) DiscoveryV1() discoveryclient.DiscoveryV1Interface { return c }

func (c *client) EndpointSlices(namespace string) discoveryclient.EndpointSliceInterface {
	return &sliceClient{api: c.api, namespace: namespace}
}

type sliceClient struct {
	discoveryclient.EndpointSliceInterface
	api       *api
	namespace string
}

// Create and Update return the stored object: the tracker only reads its uid, generation and labels.

func (c *sliceClient) Create(_ context.Context, in *discoveryv1.EndpointSlice, _ metav1.CreateOptions) (*discoveryv1.EndpointSlice, error) {
	stored, err := c.create(in)
	if err != nil {
		c.api.note("create", in.Name, false, err)
		return nil, err
	}
	c.api.note("create", stored.Name, false, nil)
	return stored, nil
}

func (c *sliceClient) create(in *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	if c.api.namespaceTerminating {
		return nil, namespaceTerminating(c.namespace)
	}
	slice := in.DeepCopy()
	slice.Namespace = c.namespace
	canonical(slice)
	if slice.Name == "" {
		c.generateName(slice)
	} else if c.api.slices[key(slice)] != nil {
		return nil, apierrors.NewAlreadyExists(sliceResource, slice.Name)
	}
	slice.UID = types.UID("uid-" + slice.Name)
	slice.Generation = 1
	slice.CreationTimestamp = serverTime
	slice.ResourceVersion = c.api.nextVersion()
	c.api.slices[key(slice)] = slice
	return slice, nil
}

func (c *sliceClient) generateName(slice *discoveryv1.EndpointSlice) {
	prefix := slice.GenerateName[:min(len(slice.GenerateName), maxGeneratedPrefix)]
	for slice.Name == "" || c.api.slices[key(slice)] != nil {
		c.api.generated++
		slice.Name = fmt.Sprintf("%sg%05d", prefix, c.api.generated)
	}
}

func namespaceTerminating(namespace string) error {
	err := apierrors.NewForbidden(sliceResource, "",
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", namespace),
		Field:   "metadata.namespace",
	})
	return err
}

func (c *sliceClient) Update(_ context.Context, in *discoveryv1.EndpointSlice, _ metav1.UpdateOptions) (*discoveryv1.EndpointSlice, error) {
	stored, err := c.update(in)
	c.api.note("update", in.Name, in.ResourceVersion == "", err)
	return stored, err
}

func (c *sliceClient) update(in *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	slice := in.DeepCopy()
	slice.Namespace = c.namespace
	canonical(slice)
	old := c.api.slices[key(slice)]
	if old == nil {
		return nil, apierrors.NewNotFound(sliceResource, slice.Name)
	}
	if slice.ResourceVersion != "" && slice.ResourceVersion != old.ResourceVersion || slice.UID != "" && slice.UID != old.UID {
		return nil, apierrors.NewConflict(sliceResource, slice.Name, fmt.Errorf("the object has been modified"))
	}
	slice.UID, slice.ResourceVersion, slice.Generation = old.UID, old.ResourceVersion, old.Generation
	if slice.CreationTimestamp.IsZero() {
		slice.CreationTimestamp = old.CreationTimestamp
	}
	if old.DeletionTimestamp != nil {
		slice.DeletionTimestamp, slice.DeletionGracePeriodSeconds = old.DeletionTimestamp, old.DeletionGracePeriodSeconds
	}
	if contentChanged(slice, old) {
		slice.Generation++
	}
	if !apiequality.Semantic.DeepEqual(slice, old) { // ES-155
		slice.ResourceVersion = c.api.nextVersion()
	}
	c.api.slices[key(slice)] = slice
	return slice, nil
}

func (c *sliceClient) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	err := c.delete(types.NamespacedName{Namespace: c.namespace, Name: name})
	c.api.note("delete", name, false, err)
	return err
}

func (c *sliceClient) delete(name types.NamespacedName) error {
	old := c.api.slices[name]
	if old == nil {
		return apierrors.NewNotFound(sliceResource, name.Name)
	}
	if len(old.Finalizers) == 0 {
		delete(c.api.slices, name)
		c.api.deleted = append(c.api.deleted, old)
		return nil
	}
	if old.DeletionTimestamp == nil {
		slice := old.DeepCopy()
		slice.DeletionTimestamp = &serverTime
		slice.DeletionGracePeriodSeconds = new(int64)
		slice.Generation++
		slice.ResourceVersion = c.api.nextVersion()
		c.api.slices[name] = slice
	}
	return nil
}
