"""Models of ComfyUI's own loaders, as the engine runs them."""
