"""The audit: what happened, linked into a hash chain in etcd that the cluster signs (docs/audit.md)."""
