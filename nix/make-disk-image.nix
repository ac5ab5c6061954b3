# In place of nixpkgs' nixos/lib/make-disk-image.nix: the same arguments and the same output, made in an
# ordinary build, without a virtual machine and without KVM.
#
#   import ./nix/make-disk-image.nix { inherit pkgs lib config; partitionTableType = "efi"; }
#
# See docs/nix.md for what differs.
{
  pkgs,
  lib,
  # the configuration of the system
  config,
  # in MiB, or "auto": what goes in, and additionalSpace
  diskSize ? "auto",
  # sizes as numfmt --from=iec takes them; bootSize is where the boot partition ends
  additionalSpace ? "512M",
  bootSize ? "256M",
  # [ { source; target; mode; user; group; } ]: only source and target are required
  contents ? [ ],
  partitionTableType ? "legacy",
  # whether the boot loader of the configuration is installed
  installBootLoader ? true,
  # whether there is a file efi-vars.fd beside the image: efiVariables, with the entry that the boot
  # loader's installer adds if boot.loader.efi.canTouchEfiVariables is set
  touchEFIVars ? false,
  OVMF ? pkgs.OVMF.fd,
  # without a meaning, because nothing is started
  efiFirmware ? OVMF.firmware,
  efiVariables ? OVMF.variables,
  # ext4 alone can be made without a virtual machine
  fsType ? "ext4",
  label ? if onlyNixStore then "nix-store" else "nixos",
  # what becomes /etc/nixos/configuration.nix
  configFile ? null,
  # shell code that runs when the image is at $diskImage, in the output $out
  postVM ? "",
  # without a meaning, because nothing is started
  memSize ? 1024,
  # whether the image is the content of /nix/store alone
  onlyNixStore ? false,
  name ? "nixos-disk-image",
  # raw, qcow2, qcow2-compressed, vdi or vpc; also vhdx and vmdk
  format ? "raw",
  # the image's name without its ending
  baseName ? "nixos",
  # whether GUIDs and the UUID of the root are those of nixpkgs, and not derived from the system
  deterministic ? true,
  rootGPUID ? "F222513B-DED1-49FA-B591-20CE86A2FE7F",
  rootFSUID ? (if fsType == "ext4" then rootGPUID else null),
  # whether the image has nixpkgs as root's channel
  copyChannel ? true,
  # more store paths, each with its closure
  additionalPaths ? [ ],
}:
let
  # As qemu-img calls a format: the ending of its files, and the name that assemble has for it.
  formats = {
    qcow2 = {
      ending = "qcow2";
    };
    qcow2-compressed = {
      ending = "qcow2";
      word = "qcow2";
    };
    raw = {
      ending = "img";
    };
    vdi = {
      ending = "vdi";
    };
    vhdx = {
      ending = "vhdx";
    };
    vmdk = {
      ending = "vmdk";
    };
    vpc = {
      ending = "vhd";
      name = "vhd-dynamic";
    };
  };
  made = formats.${format};
  gpts = {
    "legacy+gpt" = [
      guids.first
      guids.second
    ];
    efi = [
      guids.first
      rootGPUID
    ];
    efixbootldr = [
      guids.first
      guids.second
      rootGPUID
    ];
    hybrid = [
      guids.first
      guids.second
      rootGPUID
    ];
  };
  tables = [
    "legacy"
    "legacy+boot"
    "none"
  ]
  ++ builtins.attrNames gpts;
  guids = {
    # What sgdisk makes of the 35 characters that nixpkgs gives it.
    disk = "97FD5997-F390-0B4A-A3F8-D106C1723AEA";
    first = "1C06F03B-704E-4657-B9CD-681A087A2FDC";
    second = "970C694F-AFD0-4B99-B750-CDB7A329AB6F";
  };
  loaders = config.boot.loader;
  problems = import ./make-disk-image/problems.nix {
    inherit
      lib
      tables
      additionalSpace
      bootSize
      configFile
      contents
      deterministic
      diskSize
      format
      fsType
      installBootLoader
      onlyNixStore
      partitionTableType
      rootFSUID
      rootGPUID
      touchEFIVars
      ;
    gpts = builtins.attrNames gpts;
    formats = builtins.attrNames formats;
    foreignLoaders = import ./foreign-loaders.nix { inherit config; };
  };

  # The image.

  channel = import ./channel.nix { inherit pkgs lib config; };
  channels = if copyChannel then [ channel ] else [ ];
  toplevel = config.system.build.toplevel;

  # A bare file system gets a menu, for a GRUB that is elsewhere.
  bootLoader =
    if !installBootLoader then
      "none"
    else if partitionTableType == "none" && loaders.grub.enable or false then
      "grub"
    else
      null;
  names =
    if !deterministic then
      [ ]
    else
      [
        "--root-uuid"
        rootFSUID
      ]
      ++ (
        if !gpts ? ${partitionTableType} then
          [ ]
        else
          [
            "--disk-guid"
            guids.disk
          ]
          ++ builtins.concatLists (
            lib.imap1 (number: guid: [
              "--partition-guid"
              "${toString number}=${guid}"
            ]) gpts.${partitionTableType}
          )
      );

  # What postVM has in nixpkgs: the programs that preVM has, and two functions.
  forPostVM = ''
    export PATH=${
      lib.makeBinPath (
        with pkgs.buildPackages;
        [
          rsync
          util-linux
          parted
          e2fsprogs
          lkl
          config.system.build.nixos-install
          nixos-enter
          nix
          systemdMinimal
          gptfdisk
        ]
      )
    }:$PATH
    export HOME=$TMPDIR
    sectorsToKilobytes() {
      echo $(( $1 / 2 ))
    }
    sectorsToBytes() {
      echo $(( $1 * 512 ))
    }
  '';
  efiVars = import ./make-disk-image/efi-vars.nix {
    inherit
      pkgs
      lib
      config
      efiVariables
      installBootLoader
      ;
  };

  image =
    import ./assemble-image.nix
      {
        inherit pkgs;
        inherit (pkgs) runCommand;
      }
      {
        inherit
          toplevel
          name
          additionalSpace
          bootSize
          partitionTableType
          bootLoader
          label
          contents
          configFile
          ;
        diskSize = if diskSize == "auto" then diskSize else "${toString diskSize}M";
        channel = if copyChannel && !onlyNixStore then channel else null;
        additionalPaths =
          lib.subtractLists ([ toplevel ] ++ channels) additionalPaths
          ++ (if onlyNixStore then channels else [ ]);
        fileName = "${baseName}.${made.ending}";
        extraArgs = [
          "--format"
          (made.name or format)
          "--layout"
          "nixpkgs"
        ]
        ++ (if onlyNixStore then [ "--store-only" ] else [ ])
        ++ names;
        postBuild = ''
          mkdir -p $out/nix-support
          echo "file ${made.word or format}-image $diskImage" >> $out/nix-support/hydra-build-products
        ''
        + (if touchEFIVars then efiVars else "")
        + (if postVM == "" then "" else forPostVM + postVM);
        # postVM may add what refers to store paths, and is to bring them.
        discardReferences = postVM == "";
        argumentNames = {
          "--boot-loader" = "installBootLoader; see boot.loader of the configuration, too";
          "--channel" = "copyChannel";
          "--disk-guid" = "deterministic";
          "--format" = "format";
          "--partition-guid" = "rootGPUID, or deterministic";
          "--root-uuid" = "rootFSUID";
          "--system" = "config";
        };
      };
in
if problems == [ ] then
  image
else
  throw (
    builtins.concatStringsSep "\n" (map (line: "make-disk-image.nix: ${line}") problems)
  )
