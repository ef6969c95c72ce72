"""The only process on a node that talks to etcd."""
