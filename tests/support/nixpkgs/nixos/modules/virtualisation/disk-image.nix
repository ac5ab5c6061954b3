# What all image modules of nixpkgs have in common: a machine, and an image that needs a virtual machine.
{
  lib,
  config,
  pkgs,
  ...
}:
{
  imports = [ ../image/file-options.nix ];
  options = {
    virtualisation.diskSize = lib.mkOption { default = "auto"; };
    image.format = lib.mkOption { default = "qcow2"; };
    amazonImage.contents = lib.mkOption { default = [ ]; };
    proxmox = {
      partitionTableType = lib.mkOption { default = "legacy"; };
      qemuConf.cores = lib.mkOption { default = 1; };
      qemuConf.additionalSpace = lib.mkOption { default = "700M"; };
      qemuConf.bootSize = lib.mkOption { default = "300M"; };
    };
  };
  config = {
    image.extension = "wrong";
    image.filePath = "elsewhere/wrong";
    fileSystems."/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = lib.mkDefault "ext4";
    };
    boot.loader.grub.enable = true;
    system.build.image = import ../../lib/make-disk-image.nix {
      inherit lib config pkgs;
      copyChannel = false;
    };
  };
}
