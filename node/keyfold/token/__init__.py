"""SoftHSM's token directories: read, compare, apply, watch."""
