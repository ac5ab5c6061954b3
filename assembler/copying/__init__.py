"""Bytes from host files to their place, hashed on the way."""
