"""What one image is asked to be: its request, its name, its record; and lists of them."""
