"""Officers' approvals: who may approve, what was asked, who signed it, and that it is used once (docs/approvals.md)."""
