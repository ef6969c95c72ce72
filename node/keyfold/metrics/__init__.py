"""The cluster's figures for Prometheus: collected from the agent, printed in its text format."""
