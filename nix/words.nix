# Lines about words that are none of those that there are, with the nearest right one.
{ lib }:
let
  nearest =
    words: word:
    let
      distance = lib.strings.levenshtein word;
    in
    builtins.head (builtins.sort (one: other: distance one < distance other) words);
in
{
  # Empty, or one line about the value of `name`.
  oneOf =
    name: words: value:
    let
      known = builtins.concatStringsSep ", " words;
      guess = if builtins.isString value then "; did you mean ${nearest words value}?" else "";
    in
    if builtins.elem value words then
      [ ]
    else
      [ "${name} is ${builtins.toJSON value}, which is none of ${known}${guess}" ];
}
