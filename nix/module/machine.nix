# A machine that BIOS and UEFI start, for variants of which nixpkgs has no module.
{ lib, pkgs, ... }:
{
  fileSystems."/" = {
    device = lib.mkDefault "/dev/disk/by-label/nixos";
    fsType = lib.mkDefault "ext4";
    autoResize = lib.mkDefault true;
  };
  fileSystems."/boot" = {
    device = lib.mkDefault "/dev/disk/by-label/ESP";
    fsType = lib.mkDefault "vfat";
  };
  boot = {
    growPartition = lib.mkDefault true;
    kernelParams = [ (if pkgs.stdenv.hostPlatform.isAarch64 then "console=ttyAMA0" else "console=ttyS0") ];
    initrd.availableKernelModules = [
      "sd_mod"
      "virtio_blk"
      "virtio_pci"
      "virtio_scsi"
    ];
    loader.grub = {
      device = lib.mkDefault (if pkgs.stdenv.hostPlatform.isx86 then "/dev/vda" else "nodev");
      efiSupport = lib.mkDefault true;
      efiInstallAsRemovable = lib.mkDefault true;
    };
  };
}
