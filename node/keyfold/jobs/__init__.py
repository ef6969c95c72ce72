"""Jobs of which the cluster runs one at a time, whatever node they are started on: backup, drill."""
