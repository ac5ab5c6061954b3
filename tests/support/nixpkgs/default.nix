# A stand-in for nixpkgs, of the shape that nix/ and scripts/check-nixpkgs expect of the real one. Its
# packages are names. What runCommand makes can be built, with the programs of a Debian machine.
{
  system ? "x86_64-linux",
  ...
}:
let
  package = name: {
    inherit name;
    type = "derivation";
    drvPath = "/nix/store/${name}.drv";
    outPath = "/nix/store/${name}";
    override = _arguments: package name;
  };
  named = names: lib.genAttrs names package;
  lib = import ./lib;

  pkgs =
    named [
      "bash"
      "coreutils"
      "dosfstools"
      "e2fsprogs"
      "findutils"
      "gptfdisk"
      "gnutar"
      "grub2"
      "grub2_efi"
      "gzip"
      "libguestfs-appliance"
      "lkl"
      "mtools"
      "nix"
      "nixos-enter"
      "parted"
      "pigz"
      "qemu-utils"
      "rsync"
      "systemdMinimal"
      "util-linux"
      "versionCheckHook"
      "xz"
      "zstd"
    ]
    // {
      inherit lib pkgs;
      inherit (import ./lib/modules.nix { inherit pkgs lib; }) evalModules;
      path = ./.;
      pkgsCross.aarch64-multiplatform = import ./. { system = "aarch64-linux"; };
      stdenv = {
        hostPlatform = {
          inherit system;
          efiArch = "x64";
          isx86 = system == "x86_64-linux";
          isAarch64 = system == "aarch64-linux";
        };
        buildPlatform = { inherit system; };
      };
      buildPackages = pkgs;
      # In a build, a structured attribute is a variable of the shell, as with nixpkgs' stdenv.
      runCommand =
        name: attributes: script:
        derivation (
          {
            inherit name system;
            builder = "/bin/bash";
            outputs = [ "out" ];
            PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
            args = [
              "-ec"
              (
                ''
                  if [ -e "''${NIX_ATTRS_SH_FILE:-}" ]; then
                    source "$NIX_ATTRS_SH_FILE"
                    export out=''${outputs[out]} PATH
                  fi
                  set -o pipefail
                ''
                + script
              )
            ];
          }
          // attributes
        );
      callPackage =
        file: more:
        import file (builtins.intersectAttrs (builtins.functionArgs (import file)) (pkgs // more));
      python3Packages =
        named [
          "argparse-manpage"
          "cffi"
          "guestfs"
          "pyparted"
          "setuptools"
          "shtab"
          "tqdm"
          "virt-firmware"
        ]
        // {
          buildPythonApplication = about: package "${about.pname}-${about.version}" // about;
        };
    };
in
pkgs
