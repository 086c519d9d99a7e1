"""Image files -> pixels."""
