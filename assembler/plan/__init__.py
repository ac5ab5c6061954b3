"""What is asked for becomes a plan: everything looked up and decided before a byte is written."""
