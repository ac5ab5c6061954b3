"""Where a closure comes from: the store, registrations, and the Nix database."""
