# A system, with the image variants of nixpkgs' modules/image/images.nix.
{
  lib,
  config,
  extendModules,
  ...
}:
{
  options = {
    image.modules = lib.mkOption { type = "modules"; };
    assertions = lib.mkOption { default = [ ]; };
    warnings = lib.mkOption { default = [ ]; };
    nix.channel.enable = lib.mkOption { default = true; };
  };
  config = {
    system.nixos = {
      version = "26.11";
      versionSuffix = "pre";
    };
    system.build.toplevel = "/nix/store/00000000000000000000000000000000-nixos-system";
    image.modules = lib.genAttrs [
      "amazon"
      "azure"
      "digital-ocean"
      "google-compute"
      "hyperv"
      "kubevirt"
      "linode"
      "oci"
      "openstack"
      "proxmox"
      "qemu"
      "qemu-efi"
      "raw"
      "raw-efi"
      "virtualbox"
      "vmware"
    ] (_: ./virtualisation/disk-image.nix);
    system.build.images = builtins.mapAttrs (
      _: module: (extendModules { modules = [ module ]; }).config.system.build.image
    ) config.image.modules;
  };
}
