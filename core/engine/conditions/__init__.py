"""What rows of a UNet call are conditioned on: a file for each kind."""
