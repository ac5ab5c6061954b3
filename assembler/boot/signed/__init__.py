"""EFI programs that are used as they are, such as a signed shim."""
