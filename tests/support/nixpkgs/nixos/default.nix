{ configuration }: import ./lib/eval-config.nix { system = null; modules = [ configuration ]; }
