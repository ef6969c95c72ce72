"""etcd, where Keyfold's nodes agree: the interface, the client, and its twin in memory for tests."""
