# The functions of nixpkgs' lib that nix/ uses, made here.
let
  letters = builtins.genList (n: builtins.substring n 1 "abcdefghijklmnopqrstuvwxyz") 26;
  capitals = builtins.genList (n: builtins.substring n 1 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") 26;
  lib = {
    cleanSource = path: {
      outPath = builtins.path {
        inherit path;
        name = "source";
      };
    };
    imap1 =
      function: list:
      builtins.genList (n: function (n + 1) (builtins.elemAt list n)) (builtins.length list);
    subtractLists = less: builtins.filter (one: !builtins.elem one less);
    toUpper = builtins.replaceStrings letters capitals;
    # How many letters must be changed, added or left out to get from one word to another.
    strings.levenshtein =
      one: other:
      let
        letter = text: n: builtins.substring (n - 1) 1 text;
        least = builtins.foldl' (a: b: if a < b then a else b) 99;
        rows = builtins.genList (
          m: builtins.genList (n: distance m n) (builtins.stringLength other + 1)
        ) (builtins.stringLength one + 1);
        known = m: n: builtins.elemAt (builtins.elemAt rows m) n;
        distance =
          m: n:
          if m == 0 || n == 0 then
            m + n
          else
            least [
              (known (m - 1) n + 1)
              (known m (n - 1) + 1)
              (known (m - 1) (n - 1) + (if letter one m == letter other n then 0 else 1))
            ];
      in
      known (builtins.stringLength one) (builtins.stringLength other);
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
    inherit (builtins) head;
    hasSuffix =
      suffix: text:
      let
        start = builtins.stringLength text - builtins.stringLength suffix;
      in
      start >= 0 && builtins.substring start (-1) text == suffix;
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    filterAttrs =
      keep: set:
      removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set));
    hasAttrByPath =
      path: set:
      path == [ ] || set ? ${builtins.head path} && lib.hasAttrByPath (builtins.tail path) set.${builtins.head path};
    getAttrFromPath = path: set: builtins.foldl' (one: name: one.${name}) set path;

    # Of the module system, which is in modules.nix. Types are names, and nothing checks them.
    mkOption = option: option // { _type = "option"; };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkForce = lib.mkOverride 50;
    mkDefault = lib.mkOverride 1000;
    mkOptionDefault = lib.mkOverride 1500;
    types =
      lib.genAttrs [ "attrs" "bool" "lines" "package" "path" "str" ] (name: name)
      // lib.genAttrs [ "enum" "listOf" "nullOr" ] (_: one: one)
      // {
        either = one: _: one;
        ints.positive = "positive";
      };
  };
in
lib
