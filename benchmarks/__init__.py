"""Measurements: `python -m benchmarks` from the checkout's root."""
