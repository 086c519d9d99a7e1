"""Finished images on disk, by identity: because of the promise, they are a cache."""
