"""A subscriber's self-service: `client` on the subscriber's machine, `node` at the other end of the connection."""
