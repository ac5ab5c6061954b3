# For Nix without flakes: `nix-build` gives the commands, and `import ./. { }` all that is here.
{
  # nixpkgs
  pkgs ? import <nixpkgs> { },
}:
{
  assemble = pkgs.callPackage ./nix/package.nix { };
  # the functions of docs/nix.md
  assembleImage = import ./nix/assemble-image.nix { inherit pkgs; };
  makeDiskImage = import ./nix/make-disk-image.nix;
  module = ./nix/module.nix;
}
