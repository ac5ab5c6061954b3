# The arguments of nixpkgs' function; true for those with a default.
{
  pkgs,
  lib,
  config,
  diskSize ? null,
  additionalSpace ? null,
  bootSize ? null,
  contents ? null,
  partitionTableType ? null,
  installBootLoader ? null,
  touchEFIVars ? null,
  OVMF ? null,
  efiFirmware ? null,
  efiVariables ? null,
  fsType ? null,
  label ? null,
  configFile ? null,
  postVM ? null,
  memSize ? null,
  onlyNixStore ? null,
  name ? null,
  format ? null,
  baseName ? null,
  deterministic ? null,
  rootGPUID ? null,
  rootFSUID ? null,
  copyChannel ? null,
  additionalPaths ? null,
}:
{
  drvPath = "nixpkgs' own image";
}
