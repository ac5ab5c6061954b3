"""This host: processes, scratch directories, all-or-nothing output, progress."""
