"""What the image will hold: the skeleton, the closure and the user's contents as one Tree."""
