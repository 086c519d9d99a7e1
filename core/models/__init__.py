"""SDXL weights, as people have them -> a model."""
