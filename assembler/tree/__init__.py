"""The Tree, every inode of the image, and what fills it."""
