"""Expiry: what may leave the store, and when. Runs in the store's own site, without any key."""
