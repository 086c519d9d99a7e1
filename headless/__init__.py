"""A graph without ComfyUI: read it, check it, run it."""
