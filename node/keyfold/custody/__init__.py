"""The cluster's own keys: derived from the root, kept and used inside a SoftHSM token."""
