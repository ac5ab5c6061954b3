{
  description = "Turn a Nix closure into a bootable disk image, entirely in user space";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      forEach = nixpkgs.lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ];
      packageFor = system: nixpkgs.legacyPackages.${system}.callPackage ./nix/package.nix { };
      # What a flake made of the template gives.
      machine = (import ./nix/template/flake.nix).outputs {
        inherit nixpkgs;
        self = machine;
        assemble = self;
      };
    in
    {
      packages = forEach (system: rec {
        assemble = packageFor system;
        default = assemble;
      });

      # `nix run` gives the first one.
      apps = forEach (
        system:
        let
          app = command: {
            type = "app";
            program = "${self.packages.${system}.default}/bin/${command}";
            meta.description = "The command ${command}";
          };
        in
        nixpkgs.lib.genAttrs [ "assemble" "check-image" "prepare-root" ] app
        // {
          default = app "assemble";
        }
      );

      overlays.default = final: _previous: {
        assemble = final.callPackage ./nix/package.nix { };
      };

      # The functions of docs/nix.md; both take pkgs.
      lib = {
        assembleImage = import ./nix/assemble-image.nix;
        makeDiskImage = import ./nix/make-disk-image.nix;
      };

      nixosModules.default = ./nix/module.nix;

      templates.default = {
        path = ./nix/template;
        description = "A small machine, and its disk images";
      };

      checks = forEach (system: {
        package = self.packages.${system}.default;
        image = machine.packages.${system}.qemu-efi;
      });
    };
}
