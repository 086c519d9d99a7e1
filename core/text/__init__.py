"""One prompt -> embeddings."""
