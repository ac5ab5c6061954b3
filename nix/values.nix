# What values may be: each function gives a list, empty or with one line for each fault.
{
  # nixpkgs' library, for the nearest right word; null: without it
  lib ? null,
}:
let
  nearest =
    words: word:
    let
      distance = other: lib.strings.levenshtein word (toString other);
    in
    builtins.head (builtins.sort (one: other: distance one < distance other) words);
  unless = right: line: if right then [ ] else [ line ];
in
rec {
  # The words for a boot loader.
  bootLoaders = [
    "grub"
    "none"
    "system"
    "systemd-boot"
  ];

  # The value of `name`, if it is none of `words`.
  oneOf =
    name: words: value:
    let
      known = builtins.concatStringsSep ", " (map toString words);
      guess =
        if lib != null && builtins.isString value then "; did you mean ${nearest words value}?" else "";
    in
    unless (builtins.elem value words)
      "${name} is ${builtins.toJSON value}, which is none of ${known}${guess}";

  # A size as the command takes it, or a whole number of MiB; "auto" where that has a meaning.
  size =
    name: hasAuto: value:
    let
      auto = if hasAuto then ", and not \"auto\"" else "";
    in
    unless (
      builtins.isInt value && value >= 0
      || hasAuto && value == "auto"
      ||
        builtins.isString value
        && builtins.match " *[0-9]+([.][0-9]+)?[KMGTkmgt]?([iI]?[bB])? *" value != null
    ) "${name} is ${builtins.toJSON value}, which is no number of MiB and no size such as \"8G\"${auto}";

  # Rows of files: docs/contents.md.
  contents =
    name:
    builtins.concatMap (
      row:
      builtins.concatMap (oneOf "a key of ${name}" [
        "source"
        "target"
        "mode"
        "user"
        "group"
        "xattrs"
      ]) (builtins.attrNames row)
      ++ unless (row ? source && row ? target) "a row of ${name} lacks a source or a target"
    );
}
