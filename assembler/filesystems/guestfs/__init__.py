"""The writer that fills any file system in a libguestfs appliance."""
