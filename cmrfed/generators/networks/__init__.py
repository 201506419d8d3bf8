"""Networks that walk a path from noise to image, one file each."""
