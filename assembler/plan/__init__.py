"""Make a plan of a request: everything is looked up and decided before a byte is written."""
