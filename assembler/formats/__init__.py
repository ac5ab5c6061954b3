"""Output formats: what a complete raw image becomes."""
