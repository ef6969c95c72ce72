"""Users, directories, units and HAProxy backends of the partitions on this node."""
