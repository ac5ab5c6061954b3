# A module of NixOS: `nixos-rebuild build-image --image-variant amazon` without a virtual machine.
#
#   imports = [ ./assemble/nix/module.nix ];
#
# The variants stay those of nixpkgs (nixos/modules/image/images.nix, from NixOS 25.05 on), with the
# machine that each of them describes; the image itself is made by assemble. See docs/nix.md.
{ lib, pkgs, ... }:
let
  facts = builtins.fromJSON (builtins.readFile ./module/facts.json);
  variants = import ./module/variants.nix;
in
{
  options.image.assemble = import ./module/options.nix { inherit lib pkgs facts; };
  config.image.modules = builtins.mapAttrs (
    variant: row: import ./module/image.nix { inherit facts variant row; }
  ) variants;
}
