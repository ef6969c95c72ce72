"""Subscribers' open connections on a node, as HAProxy holds them, and when they have to end."""
