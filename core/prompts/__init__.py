"""Prompts, as people write them -> lists of prompts."""
