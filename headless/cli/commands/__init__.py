"""The commands of batch-sdxl, a file each: its arguments, and what it does."""
