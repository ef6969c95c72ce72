"""The login lockout in front of SoftHSM, which has none: failed logins counted over all nodes (docs/lockout.md)."""
