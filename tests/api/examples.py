"""Values for the fields of the configuration."""

# A value of each field that is not its default, as a flag gives it; a field without one fails a test.
OTHER: dict[str, tuple[str, object]] = {
    "kubeconfig": ("/k", "/k"),
    "context": ("c", "c"),
    "controllers": ("endpointslice", "endpointslice"),
    "shards": ("3", 3),
    "concurrent_service_endpoint_syncs": ("50", 50),
    "max_endpoints_per_slice": ("1000", 1000),
    "endpointslice_updates_batch_period": ("1m500ms", 60.5),
    "concurrent_endpoint_syncs": ("70", 70),
    "endpoint_updates_batch_period": ("1s", 1.0),
    "mirroring_concurrent_service_endpoint_syncs": ("1", 1),
    "mirroring_max_endpoints_per_subset": ("999", 999),
    "mirroring_endpointslice_updates_batch_period": ("2s", 2.0),
    "topology_grace_period": ("1m30s", 90.0),
    "kube_api_qps": ("20.5", 20.5),
    "kube_api_burst": ("40", 40),
    "leader_elect": ("false", False),
    "leader_elect_lease_duration": ("1m", 60.0),
    "leader_elect_renew_deadline": ("14s", 14.0),
    "leader_elect_retry_period": ("3s", 3.0),
    "leader_elect_resource_name": ("other", "other"),
    "leader_elect_resource_namespace": ("default", "default"),
    "metrics_bind_address": ("[::]:9", "[::]:9"),
    "tracing_endpoint": ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
    "tracing_sampling_rate_per_million": ("5", 5),
    "logging_format": ("json", "json"),
    "v": ("4", 4),
}
# Fields that accept one value only: `shard` while there is one.
FIXED = {"leader_elect_resource_lock", "shard"}
