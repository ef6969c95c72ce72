"""`make bench`: what issue 2 says must be measured, on a cluster of its own."""
