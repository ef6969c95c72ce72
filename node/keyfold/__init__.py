"""Keyfold: what is installed on a node of the cluster."""

__version__ = "0.1.0"
