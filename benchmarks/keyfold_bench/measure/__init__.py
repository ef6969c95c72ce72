"""One module per measurement; each `measure()` returns the runs of its figures and leaves the cluster level."""
