# A disk image of a NixOS system, made in an ordinary Nix build: no virtual machine, no KVM.
#
#   (import ./nix/assemble-image.nix { inherit pkgs; }) { toplevel = config.system.build.toplevel; }
#
# is a derivation whose output holds disk.raw. Its arguments have the names that they have in nixpkgs'
# make-disk-image, for which make-disk-image.nix stands in. See docs/nix.md.
{
  # nixpkgs: the default of each of the following arguments comes from it
  pkgs ? null,
  # the command itself
  assemble ? "${pkgs.buildPackages.callPackage ./package.nix { }}/bin/assemble",
  # the shell that runs the build, and the directory of mkdir and tee
  bash ? "${pkgs.buildPackages.bash}/bin/bash",
  searchPath ? "${pkgs.buildPackages.coreutils}/bin",
  # the platform of the builder
  system ? pkgs.stdenv.buildPlatform.system,
  # makes a derivation of a name, attributes and a script, as nixpkgs' runCommand does
  runCommand ? (
    name: attributes: script:
    derivation (
      attributes
      // {
        inherit name system searchPath;
        builder = bash;
        outputs = [ "out" ];
        args = [
          "-euc"
          (
            ''
              # Nix 2.8 gives the names that these two files have outside of the sandbox.
              [ -e "''${NIX_ATTRS_SH_FILE:-}" ] || NIX_ATTRS_SH_FILE=.attrs.sh
              [ -e "''${NIX_ATTRS_JSON_FILE:-}" ] || NIX_ATTRS_JSON_FILE=.attrs.json
              source "$NIX_ATTRS_SH_FILE"
              export PATH=$searchPath
              out=''${outputs[out]}
            ''
            + script
          )
        ];
      }
    )
  ),
}:
{
  # the system to boot: a derivation, or a store path with its context (builtins.storePath)
  toplevel,
  name ? "nixos-disk-image",
  # the size of the image in MiB, or the free space in it, or as the command takes them: "8G"
  diskSize ? "auto",
  additionalSpace ? "512M",
  bootSize ? "256M",
  # legacy, legacy+boot, legacy+gpt, efi, efixbootldr, hybrid or none; null: the default of the command
  partitionTableType ? null,
  # grub, systemd-boot, none, or system: the system's own installer, in an appliance; null: the boot
  # loader that the system is configured with
  bootLoader ? null,
  # bytes in a sector of the disk: 512 or 4096
  sectorSize ? 512,
  # signed EFI programs, such as a shim and the GRUB that it starts
  efiBinaries ? [ ],
  # label of the root file system; null: the label by which the system mounts it, or "nixos"
  label ? null,
  # your own files: [ { source; target; user; group; mode; xattrs; } ]; only source and target are
  # required. Owners and setuid modes, which the sandbox forbids in files, belong here.
  contents ? [ ],
  # more store paths, each with its closure
  additionalPaths ? [ ],
  # { "1" = …; "2" = …; }: generations of the system profile
  generations ? { },
  # root's channels, and the file for /etc/nixos/configuration.nix
  channel ? null,
  configFile ? null,
  # other options of the command
  extraArgs ? [ ],
  # of the image in the output; its ending chooses the format
  fileName ? "disk.raw",
  # shell code that runs in the same build afterwards, with the image's path in $diskImage
  postBuild ? "",
  # whether Nix may forget the store paths that the output names; files of postBuild may need them
  discardReferences ? postBuild == "",
  # which arguments the options of the command are, for messages
  argumentNames ? { },
}:
let
  values = import ./values.nix { lib = if pkgs == null then null else pkgs.lib; };
  facts = builtins.fromJSON (builtins.readFile ./module/facts.json);
  names = {
    "--additional-path" = "additionalPaths";
    "--additional-space" = "additionalSpace";
    "--boot-loader" = "bootLoader";
    "--boot-size" = "bootSize";
    "--channel" = "channel";
    "--configuration" = "configFile";
    "--contents" = "contents";
    "--efi-binary" = "efiBinaries";
    "--generation" = "generations";
    "--label" = "label";
    "--partition-table" = "partitionTableType";
    "--sector-size" = "sectorSize";
    "--size" = "diskSize";
    "--system" = "toplevel";
  }
  // argumentNames;
  word =
    option: words: value:
    if value == null then [ ] else values.oneOf names.${option} words value;
  problems =
    values.size names."--size" true diskSize
    ++ values.size names."--additional-space" false additionalSpace
    ++ values.size names."--boot-size" false bootSize
    ++ word "--partition-table" facts.tables partitionTableType
    ++ word "--boot-loader" values.bootLoaders bootLoader
    ++ values.oneOf names."--sector-size" [ 512 4096 ] sectorSize
    ++ values.contents names."--contents" contents;

  size = value: if builtins.isInt value then "${toString value}M" else value;
  optional = option: value: if value == null then [ ] else [ option "${value}" ];
  profiles = map (number: generations.${number}) (builtins.attrNames generations);
in
if problems != [ ] then
  throw (builtins.concatStringsSep "\n" (map (line: "assemble-image.nix: ${line}") problems))
else
runCommand name
  (
    {
      inherit assemble fileName;

      # The closure comes as JSON, with the hashes that Nix has of it.
      __structuredAttrs = true;
      exportReferencesGraph.closure =
        [ toplevel ] ++ additionalPaths ++ profiles ++ (if channel == null then [ ] else [ channel ]);

      argumentNames = names;
      contents = builtins.toJSON contents;
      arguments = [
        "--system"
        "${toplevel}"
        "--size"
        (size diskSize)
        "--additional-space"
        (size additionalSpace)
        "--boot-size"
        (size bootSize)
      ]
      ++ optional "--label" label
      ++ optional "--partition-table" partitionTableType
      ++ optional "--boot-loader" bootLoader
      ++ [
        "--sector-size"
        (toString sectorSize)
      ]
      ++ builtins.concatMap (optional "--efi-binary") efiBinaries
      ++ builtins.concatMap (optional "--additional-path") additionalPaths
      ++ builtins.concatMap (number: [
        "--generation"
        "${number}=${generations.${number}}"
      ]) (builtins.attrNames generations)
      ++ optional "--channel" channel
      ++ optional "--configuration" configFile
      ++ extraArgs;
    }
    # The image holds its own store, so it needs none of these paths. Nix 2.14 to 2.17
    # refuse this without an experimental feature.
    // (
      if !discardReferences || builtins.compareVersions builtins.nixVersion "2.18" < 0 then
        { }
      else
        { unsafeDiscardReferences.out = true; }
    )
  )
  (
    ''
      mkdir "$out"
      diskImage=$out/$fileName
      if [ "$contents" != "[]" ]; then
        printf %s "$contents" > contents.json
        arguments+=(--contents contents.json)
      fi
      set -o pipefail
      "$assemble" --out "$diskImage" --closure "$NIX_ATTRS_JSON_FILE" "''${arguments[@]}" 2>&1 |
        tee assemble.log || {
        log=$(< assemble.log)
        for option in "''${!argumentNames[@]}"; do
          if [[ $log =~ (^|[^a-z-])"$option"([^a-z-]|$) ]]; then
            echo "$option is the argument ''${argumentNames[$option]}" >&2
          fi
        done
        exit 1
      }
    ''
    + postBuild
  )
