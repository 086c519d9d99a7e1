"""What nodes ask of the program that runs them, and what they share in talking to it."""
