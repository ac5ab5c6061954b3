{ system, modules }:
let
  pkgs = import ../.. { };
in
pkgs.evalModules ([ ../modules/system.nix ] ++ modules)
