# What is wrong with the arguments of make-disk-image.nix: a list with a line for each fault.
{
  lib,
  # the words that there are
  tables,
  gpts,
  formats,
  # enabled boot loaders that only their own installers install
  foreignLoaders,
  # the arguments
  additionalSpace,
  bootSize,
  configFile,
  contents,
  deterministic,
  diskSize,
  format,
  fsType,
  installBootLoader,
  onlyNixStore,
  partitionTableType,
  rootFSUID,
  rootGPUID,
  touchEFIVars,
}:
let
  unless = right: line: if right then [ ] else [ line ];
  implies = condition: result: !condition || result;
  show = builtins.toJSON;
  values = import ../values.nix { inherit lib; };
  inherit (values) oneOf;
  isGuid =
    value:
    builtins.isString value
    && builtins.match "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}" value != null;
  isSize =
    value: builtins.isString value && builtins.match "[0-9]+([.][0-9]+)?[KMGT]?" value != null;
  isMib =
    value:
    builtins.isInt value || builtins.isString value && builtins.match "[0-9]+" value != null;
  isWhole = row: (row.user or null == null) == (row.group or null == null);
  ownerProblems =
    row:
    unless (isWhole row) "the row of contents for ${row.target or "?"} has one of user and group: set both, or none";
in
oneOf "partitionTableType" tables partitionTableType
++ oneOf "format" formats format
++ unless (fsType == "ext4")
  "fsType is ${show fsType}, and only ext4 is made without a virtual machine: take ext4, or nixpkgs' make-disk-image"
++ unless (diskSize == "auto" || isMib diskSize)
  "diskSize is ${show diskSize}, which is neither \"auto\" nor a number of MiB"
++ unless (isSize additionalSpace)
  "additionalSpace is ${show additionalSpace}, which is no size such as \"512M\" or \"1G\""
++ unless (isSize bootSize) "bootSize is ${show bootSize}, which is no size such as \"256M\" or \"1G\""
++ builtins.concatMap (row: values.contents "contents" [ row ] ++ ownerProblems row) contents
++ unless (implies deterministic (rootFSUID != null))
  "rootFSUID is null: set it, or deterministic = false"
++ unless (implies (deterministic && rootFSUID != null) (isGuid rootFSUID))
  "rootFSUID is ${show rootFSUID}, which is no UUID"
++ unless (implies (deterministic && builtins.elem partitionTableType gpts) (isGuid rootGPUID))
  "rootGPUID is ${show rootGPUID}, which is no GUID"
++ unless (implies touchEFIVars (builtins.elem partitionTableType gpts))
  "touchEFIVars is for a GPT: set partitionTableType to ${builtins.concatStringsSep ", " gpts}"
++ unless (implies onlyNixStore (contents == [ ] && configFile == null && !installBootLoader))
  "onlyNixStore is for the store alone: leave contents and configFile out, and set installBootLoader = false"
++ unless (implies installBootLoader (foreignLoaders == [ ]))
  "boot.loader.${builtins.head foreignLoaders} is enabled, and its installer needs a virtual machine: enable boot.loader.grub or boot.loader.systemd-boot, or set installBootLoader = false"
