"""Bring back what a backup set holds: preview, apply through etcd, verify, record."""
