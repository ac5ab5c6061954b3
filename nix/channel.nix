# nixpkgs as root's channel, as nixpkgs' make-disk-image makes it.
{
  pkgs,
  lib,
  # the configuration of the system
  config,
}:
pkgs.runCommand "nixos-${config.system.nixos.version}" { } ''
  mkdir -p $out
  cp -prd ${(lib.cleanSource pkgs.path).outPath} $out/nixos
  chmod -R u+w $out/nixos
  if [ ! -e $out/nixos/nixpkgs ]; then
    ln -s . $out/nixos/nixpkgs
  fi
  rm -rf $out/nixos/.git
  echo -n ${config.system.nixos.versionSuffix} > $out/nixos/.version-suffix
''
