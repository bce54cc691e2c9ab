"""The custom resources of `ipam.sliceplane.dev/v1alpha1`, one file a kind; `api.crds` makes their CRDs from them."""
