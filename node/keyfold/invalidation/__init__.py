"""What becomes of destroyed objects: kept as invalidated, reactivated, purged, expired (docs/invalidation.md)."""
