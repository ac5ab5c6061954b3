# What scripts/check-nixpkgs evaluates: a set of rows for each kind of check.
{
  # the nixpkgs that is checked
  nixpkgs,
  # a copy of its directory nixos, in which make-disk-image.nix is that of this repository
  tree,
  # this repository
  source,
}:
let
  packagesOf =
    system:
    import nixpkgs {
      inherit system;
      config = { };
      overlays = [ ];
    };
  pkgs = packagesOf "x86_64-linux";
  inherit (pkgs) lib;
  package = system: arguments: ((packagesOf system).callPackage (source + "/nix/package.nix") arguments).drvPath;

  # A machine that boots by GRUB, or by systemd-boot, where its image module does not say otherwise.
  machine = {
    nixpkgs.hostPlatform = "x86_64-linux";
    system.stateVersion = "25.05";
    documentation.enable = lib.mkDefault false;
    image.assemble.copyChannel = lib.mkDefault false;
  };
  bySystemdBoot = {
    boot.loader.systemd-boot.enable = true;
    boot.loader.grub.enable = lib.mkForce false;
  };
  configuration =
    root: modules:
    (import (root + "/nixos/lib/eval-config.nix") {
      system = null;
      inherit modules;
    }).config;
  images =
    more: (configuration nixpkgs ([ machine (source + "/nix/module.nix") ] ++ more)).system.build.images;

  # The derivation of an image that any builder makes.
  drvOf =
    image:
    if builtins.elem "kvm" (image.requiredSystemFeatures or [ ]) then
      throw "the image asks for kvm"
    else
      image.drvPath;

  theirs = import (nixpkgs + "/nixos/lib/make-disk-image.nix");
  ours = import (source + "/nix/make-disk-image.nix");
  same =
    let
      names = set: builtins.attrNames (builtins.functionArgs set);
      only = one: other: lib.subtractLists (names other) (names one);
    in
    if builtins.functionArgs ours == builtins.functionArgs theirs then
      "the same ${toString (builtins.length (names ours))} arguments"
    else
      throw "arguments that differ: nixpkgs alone has ${toString (only theirs ours)}; this repository alone has ${toString (only ours theirs)}; or one has a default in one of them only";

  # Where another attribute than system.build.image is the image, or a setting makes the call.
  others = {
    "incus-virtual-machine.nix".attribute = "qemuImage";
    "qemu-vm.nix" = {
      attribute = "vm";
      module.virtualisation.useBootLoader = true;
    };
  };
  site =
    file:
    let
      other = others.${baseNameOf file} or { };
      plain = removeAttrs machine [ "image" ];
      found = configuration tree [ plain (other.module or { }) (tree + "/${file}") ];
    in
    drvOf found.system.build.${other.attribute or "image"};
in
{
  package = {
    "x86_64-linux" = package "x86_64-linux" { };
    "x86_64-linux, with libguestfs" = package "x86_64-linux" { withGuestfs = true; };
    "aarch64-linux" = package "aarch64-linux" { };
    "aarch64-linux, cross compiled" =
      (pkgs.pkgsCross.aarch64-multiplatform.callPackage (source + "/nix/package.nix") { }).drvPath;
  };
  function."make-disk-image" = same;
  variant = builtins.mapAttrs (name: _: drvOf (images [ ]).${name}) (
    import (source + "/nix/module/variants.nix")
  );
  "variant, systemd-boot" = lib.genAttrs [ "hetzner" "libvirt" "qemu-efi" "raw-efi" ] (
    name: drvOf (images [ bySystemdBoot ]).${name}
  );
  inherit site;
}
