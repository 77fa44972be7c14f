"""proposal."""
