# The functions of nixpkgs' lib that nix/ uses, made here.
let
  lib = {
    removePrefix =
      prefix: text:
      builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text;
    makeBinPath = packages: builtins.concatStringsSep ":" (map (one: "${one}/bin") packages);
    getLib = package: package.lib or package;
    importTOML = file: builtins.fromTOML (builtins.readFile file);
    optionals = condition: list: if condition then list else [ ];
    genAttrs =
      names: value:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = value name;
        }) names
      );
    licenses.mit = "MIT";
  };
in
lib
