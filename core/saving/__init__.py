"""Pixels -> files, sheets and pages."""
