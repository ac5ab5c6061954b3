{ pkgs, ... }:
{
  system.stateVersion = "25.11";

  networking.hostName = "machine";
  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [
    # "ssh-ed25519 …"
  ];
  environment.systemPackages = [ pkgs.htop ];

  # for all images; a variant's own: image.modules.amazon = { image.assemble.size = "8G"; };
  image.assemble.additionalSpace = "1G";
}
