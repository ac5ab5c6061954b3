# A stand-in for nixpkgs, of the shape that nix/ and scripts/check-nixpkgs expect of the real one. Its
# packages are names. Tests evaluate with it, and build nothing.
{
  system ? "x86_64-linux",
  ...
}:
let
  package = name: {
    inherit name;
    type = "derivation";
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
      "gnutar"
      "grub2"
      "grub2_efi"
      "gzip"
      "libguestfs-appliance"
      "mtools"
      "nix"
      "pigz"
      "qemu-utils"
      "util-linux"
      "versionCheckHook"
      "xz"
      "zstd"
    ]
    // {
      inherit lib pkgs;
      path = ./.;
      stdenv = {
        hostPlatform = { inherit system; };
        buildPlatform = { inherit system; };
      };
      buildPackages = pkgs;
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
        ]
        // {
          buildPythonApplication = about: package "${about.pname}-${about.version}" // about;
        };
    };
in
pkgs
