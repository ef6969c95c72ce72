"""Keeping every node's token directories equal to what etcd's majority has committed (design §5)."""
