"""The libguestfs appliance: a small virtual machine, started by an ordinary user."""
