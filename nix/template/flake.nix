{
  description = "A small machine, and its disk images";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # where your checkout of assemble is
    assemble.url = "path:../assemble";
    assemble.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      assemble,
    }:
    {
      nixosConfigurations.machine = nixpkgs.lib.nixosSystem {
        modules = [
          assemble.nixosModules.default
          ./configuration.nix
        ];
      };

      # nix build .#qemu-efi, .#amazon, .#raw-efi and so on: see docs/nix.md of assemble
      packages.x86_64-linux = self.nixosConfigurations.machine.config.system.build.images // {
        default = self.packages.x86_64-linux.qemu-efi;
      };
    };
}
