# image.assemble.*: how the images of all variants are made; a variant's own module may set them anew.
{ lib, pkgs, facts }:
let
  inherit (lib) mkOption types;
  inherit (import ../values.nix { inherit lib; }) bootLoaders oneOf;

  word =
    name: words: description:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "${description} One of ${builtins.concatStringsSep ", " words}, or null.";
      apply =
        value:
        let
          problems = if value == null then [ ] else oneOf "image.assemble.${name}" words value;
        in
        if problems == [ ] then value else throw (builtins.head problems);
    };
  size =
    default: description:
    mkOption {
      type = types.either types.ints.positive types.str;
      inherit default description;
      example = "8G";
    };
  paths =
    description:
    mkOption {
      type = types.listOf types.path;
      default = [ ];
      inherit description;
    };
in
{
  package = mkOption {
    type = types.package;
    default = pkgs.buildPackages.callPackage ../package.nix { };
    defaultText = "pkgs.buildPackages.callPackage ./nix/package.nix { }";
    description = "The package with the command `assemble`, for the machine that builds.";
  };
  target = word "target" (builtins.attrNames facts.targets) ''
    Where the image is to run: the variant's own, unless you set it; null has no rules. See
    docs/targets.md.
  '';
  format = word "format" (builtins.attrNames facts.formats) ''
    The output format; null is the target's. See docs/formats.md.
  '';
  partitionTable = word "partitionTable" facts.tables ''
    The partition table; null is the one that the boot loader of the configuration needs. See
    docs/booting.md.
  '';
  bootLoader = word "bootLoader" bootLoaders ''
    The boot loader; null is the one that the configuration has, and "system" its own installer, which needs
    a {option}`image.assemble.package` with libguestfs.
  '';
  size = size "auto" ''
    The size of the disk, in MiB or as in "8G"; "auto" is what goes in and
    {option}`image.assemble.additionalSpace`.
  '';
  additionalSpace = size "512M" "Free space in the root file system, in MiB or as in \"1G\".";
  bootSize = size "256M" "The size of a partition for the boot loader, in MiB or as in \"1G\".";
  sectorSize = mkOption {
    type = types.enum [
      512
      4096
    ];
    default = 512;
    description = "Bytes in a sector of the disk.";
  };
  label = mkOption {
    type = types.nullOr types.str;
    default = null;
    description = "The label of the root file system; null is the one by which the system mounts it.";
  };
  contents = mkOption {
    type = types.listOf types.attrs;
    default = [ ];
    example = [
      {
        source = "./motd";
        target = "/etc/motd";
        mode = "0644";
        user = "0";
        group = "0";
      }
    ];
    description = "Your own files, as in docs/contents.md.";
  };
  configFile = mkOption {
    type = types.nullOr types.path;
    default = null;
    description = "What becomes /etc/nixos/configuration.nix.";
  };
  copyChannel = mkOption {
    type = types.bool;
    default = true;
    description = ''
      Whether the image has nixpkgs as root's channel; not if {option}`nix.channel.enable` is false.
    '';
  };
  additionalPaths = paths "More store paths in the image, each with its closure.";
  efiBinaries = paths "Signed EFI programs, such as a shim and the GRUB that it starts.";
  checksum = mkOption {
    type = types.bool;
    default = false;
    description = "Whether there is a file SHA256SUMS beside the image.";
  };
  blockMap = mkOption {
    type = types.bool;
    default = false;
    description = "Whether there is a block map for bmaptool beside the image, with the ending .bmap.";
  };
  postBuild = mkOption {
    type = types.lines;
    default = "";
    description = "Shell code that runs in the same build afterwards; the image is at $diskImage.";
  };
  extraArgs = mkOption {
    type = types.listOf types.str;
    default = [ ];
    example = [ "--check-hashes" ];
    description = "Other options of `assemble`.";
  };
}
