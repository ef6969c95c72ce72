"""Backup sets: encrypted archives of partitions and the signed manifest that makes them a set (docs/formats.md)."""
