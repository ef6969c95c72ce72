"""What the Molecule scenarios' tests share: their machines, the cluster on them, applications that use it, faults."""
