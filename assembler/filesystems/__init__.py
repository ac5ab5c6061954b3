"""The kinds of file systems, and their writers."""
