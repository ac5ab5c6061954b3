{
  description = "A small machine, and its disk images";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # Change this: where your checkout of assemble is. A flake takes no relative path outside of itself.
    assemble.url = "path:/path/to/assemble";
    assemble.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      assemble,
    }:
    let
      machineFor =
        platform:
        nixpkgs.lib.nixosSystem {
          modules = [
            assemble.nixosModules.default
            ./configuration.nix
            { nixpkgs.hostPlatform = platform; }
          ];
        };
      imagesOf =
        machine:
        let
          inherit (machine.config.system.build) images;
        in
        images // { default = images.qemu-efi; };
    in
    {
      nixosConfigurations = {
        machine = machineFor "x86_64-linux";
        machine-aarch64 = machineFor "aarch64-linux";
      };

      # nix build .#qemu-efi (the default), .#amazon, .#raw-efi and so on: see docs/nix.md of assemble. The
      # same images for a machine with an ARM processor: nix build .#packages.aarch64-linux.qemu-efi
      packages = {
        x86_64-linux = imagesOf self.nixosConfigurations.machine;
        aarch64-linux = imagesOf self.nixosConfigurations.machine-aarch64;
      };
    };
}
