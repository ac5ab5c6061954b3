"""Turn a Tree into a file system inside the image."""
