"""What answers a subscriber on a node: one process per connection, as the partition's own user."""
