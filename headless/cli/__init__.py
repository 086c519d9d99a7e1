"""The command batch-sdxl."""
