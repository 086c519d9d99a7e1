"""ComfyUI as the host: nothing else in the pack imports it."""
