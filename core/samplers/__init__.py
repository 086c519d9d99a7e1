"""Names -> an image's way from noise to image.

A name is a sampler as ComfyUI's users know it, alone (`euler`) or with a spacing of its noise
levels (`dpmpp_2m:karras`).

With a spacing, both words mean what they mean in ComfyUI: the same noise levels, the same steps,
and on a CPU the same noise. Alone, a name means what it means in diffusers, in the model's own
spacing.
"""
