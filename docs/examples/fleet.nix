# A fleet in one nix-build: each machine in each of its image variants.
#
#   nix-build fleet.nix                     all images
#   nix-build fleet.nix -A web.amazon       one of them
let
  # where your checkout of assemble is
  assemble = ../..;

  # Each machine: its configuration, and the variants that it is wanted in.
  machines = {
    web = {
      configuration.services.nginx.enable = true;
      variants = [
        "amazon"
        "qemu-efi"
      ];
    };
    database = {
      configuration.services.postgresql.enable = true;
      variants = [ "hetzner" ];
    };
  };

  common = {
    imports = [ (assemble + "/nix/module.nix") ];
    nixpkgs.hostPlatform = "x86_64-linux";
    system.stateVersion = "25.11";
    image.assemble.copyChannel = false;
  };

  # nix-build looks into a set within a set only where that says so.
  pick =
    variants: images:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = images.${name};
      }) variants
    )
    // {
      recurseForDerivations = true;
    };
in
builtins.mapAttrs (
  name: machine:
  let
    nixos = import <nixpkgs/nixos> {
      configuration.imports = [
        common
        machine.configuration
        { networking.hostName = name; }
      ];
    };
  in
  pick machine.variants nixos.config.system.build.images
) machines
