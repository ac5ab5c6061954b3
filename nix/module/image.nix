# The module of one variant: its image, and what of the configuration the image cannot have.
{
  facts,
  # the variant's name, and its row in variants.nix
  variant,
  row,
}:
{
  config,
  options,
  lib,
  pkgs,
  modulesPath,
  ...
}:
let
  cfg = config.image.assemble;
  platform = pkgs.stdenv.hostPlatform.system;
  target = if cfg.target == null then null else facts.targets.${cfg.target};
  format =
    if cfg.format != null then
      cfg.format
    else if target != null then
      builtins.head target.formats
    else
      "raw";

  # Whether nixpkgs has an option, and whether somebody else has set it.
  has = path: lib.hasAttrByPath path options;
  isForeign = file: !lib.hasPrefix (toString (dirOf modulesPath)) (toString file);
  isSet =
    path:
    has path
    && (
      let
        option = lib.getAttrFromPath path options;
      in
      option.highestPrio < 1000 && builtins.any isForeign option.files
    );
  name = path: builtins.concatStringsSep "." path;
  # nixpkgs calls formats as qemu-img does; what it calls vpc, it makes for clouds that take a fixed one.
  own = option: value: if option == "format" && value == "vpc" then "vhd" else value;
  honoured = builtins.mapAttrs (
    option: path: lib.mkDefault (own option (lib.getAttrFromPath path config))
  ) (lib.filterAttrs (_: has) (row.honoured or { }));
  diskSize = [
    "virtualisation"
    "diskSize"
  ];

  root = config.fileSystems."/" or null;
  foreignLoaders = import ../foreign-loaders.nix { inherit config; };
  assembled = import ../assemble-image.nix {
    inherit pkgs;
    inherit (pkgs) runCommand; # which gives meta and overrideAttrs, as the images of nixpkgs have them
    assemble = "${cfg.package}/bin/assemble";
  };
in
{
  imports = [ (modulesPath + "/image/file-options.nix") ] ++ lib.optionals (row ? base) [ row.base ];

  image.assemble = {
    target = lib.mkDefault (row.target or null);
  }
  // (if has diskSize then { size = lib.mkDefault (lib.getAttrFromPath diskSize config); } else { })
  // honoured;
  image.extension = lib.mkForce facts.formats.${format};
  # nixpkgs has other paths for some variants.
  image.filePath = lib.mkForce config.image.fileName;

  assertions = [
    {
      assertion = root != null;
      message = "image.assemble: the configuration has no fileSystems.\"/\" for the image variant ${variant}";
    }
    {
      assertion =
        root == null || root.fsType == "ext4" || builtins.elem "--filesystem" cfg.extraArgs;
      message = "image.assemble: fileSystems.\"/\" has the type ${root.fsType or ""}, and ext4 alone is made without an appliance: take ext4, or set image.assemble.package with withGuestfs = true and add \"--filesystem\" and its name to image.assemble.extraArgs";
    }
    {
      assertion = builtins.elem cfg.bootLoader [ "none" "system" ] || foreignLoaders == [ ];
      message = "image.assemble: boot.loader.${lib.head (foreignLoaders ++ [ "" ])} is enabled, and its installer needs a virtual machine: enable boot.loader.grub or boot.loader.systemd-boot, or set image.assemble.bootLoader = \"none\", or \"system\" with image.assemble.package = a package with withGuestfs = true";
    }
    {
      assertion = target == null || builtins.elem platform target.machines;
      message = "image.assemble: the target ${toString cfg.target} has machines for ${
        builtins.concatStringsSep " and " (target.machines or [ ])
      } only, and the system is for ${platform}";
    }
    {
      assertion = target == null || builtins.elem format target.formats;
      message = "image.assemble: the target ${toString cfg.target} takes ${
        builtins.concatStringsSep ", " (target.formats or [ ])
      }, not ${format}: set image.assemble.format to one of them, or image.assemble.target = null";
    }
  ];
  warnings = map (
    path: "${name path} is set, and has no meaning for an image that assemble makes (nix/module.nix)"
  ) (builtins.filter isSet (row.ignored or [ ]));

  system.build.image = lib.mkForce (assembled {
    name = "nixos-image-${variant}";
    inherit (config.image) fileName;
    inherit (config.system.build) toplevel;
    inherit (cfg)
      additionalPaths
      additionalSpace
      bootLoader
      bootSize
      configFile
      contents
      efiBinaries
      label
      postBuild
      sectorSize
      ;
    diskSize = cfg.size;
    channel =
      if cfg.copyChannel && config.nix.channel.enable then
        import ../channel.nix { inherit pkgs lib config; }
      else
        null;
    partitionTableType = cfg.partitionTable;
    extraArgs = [
      "--format"
      format
    ]
    ++ lib.optionals (cfg.target != null) [
      "--target"
      cfg.target
    ]
    ++ lib.optionals cfg.checksum [ "--checksum" ]
    ++ lib.optionals cfg.blockMap [ "--bmap" ]
    ++ cfg.extraArgs;
    argumentNames = builtins.mapAttrs (_: option: "image.assemble.${option}") {
      "--additional-path" = "additionalPaths";
      "--additional-space" = "additionalSpace";
      "--bmap" = "blockMap";
      "--boot-loader" = "bootLoader";
      "--boot-size" = "bootSize";
      "--channel" = "copyChannel";
      "--checksum" = "checksum";
      "--configuration" = "configFile";
      "--contents" = "contents";
      "--efi-binary" = "efiBinaries";
      "--format" = "format";
      "--label" = "label";
      "--partition-table" = "partitionTable";
      "--sector-size" = "sectorSize";
      "--size" = "size";
      "--target" = "target";
    };
  });
}
