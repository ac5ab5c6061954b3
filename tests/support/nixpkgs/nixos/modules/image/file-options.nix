{ lib, config, ... }:
{
  options.image = {
    baseName = lib.mkOption { default = "nixos-image"; };
    extension = lib.mkOption { };
    fileName = lib.mkOption { default = "${config.image.baseName}.${config.image.extension}"; };
    filePath = lib.mkOption { default = config.image.fileName; };
  };
}
