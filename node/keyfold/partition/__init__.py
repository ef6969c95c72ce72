"""What a partition is: its name, policy and row; and how a declaration differs from it."""
