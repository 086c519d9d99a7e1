"""Many images in flight at once, each with the bits it has alone."""
