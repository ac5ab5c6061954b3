{ lib, pkgs, ... }:
{
  system.stateVersion = "25.11";

  networking.hostName = "machine";
  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [
    # "ssh-ed25519 …"
  ];
  environment.systemPackages = [ pkgs.htop ];

  # Each image variant has its own disk and boot loader. These are for the system without a variant, which
  # `nix flake check` evaluates; replace them when a machine is to be rebuilt in place.
  fileSystems."/" = lib.mkOverride 1400 {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
  boot.loader.grub.devices = lib.mkOverride 1400 [ "nodev" ];

  # for all images; a variant's own: image.modules.amazon = { image.assemble.size = "8G"; };
  image.assemble.additionalSpace = "1G";
}
