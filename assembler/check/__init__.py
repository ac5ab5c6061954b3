"""Read a finished image back."""
