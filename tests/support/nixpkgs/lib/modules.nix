# A small module system, of the shape that nix/module.nix expects of nixpkgs': modules with imports,
# options and config, priorities, defaults, and definitions that are merged by their type.
{ pkgs, lib }:
let
  inherit (builtins) isAttrs isFunction isPath;
  evaluated =
    { modules, arguments }:
    let
      config = merge options definitions;
      options = annotated (deepMerge (map (one: one.options or { }) all)) definitions;
      given = {
        inherit config options lib pkgs;
        modulesPath = ../nixos/modules;
        extendModules = more: evaluated { modules = modules ++ more.modules; inherit arguments; };
      }
      // arguments;
      opened =
        module:
        let
          value = if isPath module then import module else module;
          one = if isFunction value then value given else value;
          body =
            if one ? config || one ? options then
              one
            else
              { config = removeAttrs one [ "imports" ]; inherit (one) imports; };
        in
        builtins.concatMap opened (one.imports or [ ]) ++ [ (removeAttrs body [ "imports" ]) ];
      all = builtins.concatMap opened modules;
      definitions = map (one: one.config or { }) all;
    in
    {
      inherit config options;
      extendModules = more: evaluated { modules = modules ++ more.modules; inherit arguments; };
    };

  isOption = one: one._type or "" == "option";
  deepMerge = builtins.foldl' (
    one: other:
    one
    // builtins.mapAttrs (
      name: value:
      if one ? ${name} && isAttrs value && !isOption value then deepMerge [ one.${name} value ] else value
    ) other
  ) { };
  least = builtins.foldl' (a: b: if b < a then b else a) 9999;
  at = name: builtins.concatMap (one: if one ? ${name} then [ one.${name} ] else [ ]);
  prioritized =
    one: if one._type or "" == "override" then one else { priority = 100; content = one; };
  annotated =
    options: definitions:
    builtins.mapAttrs (
      name: option:
      if isOption option then
        option
        // {
          files = [ "of the user" ]; # nixpkgs has those of all definitions
          highestPrio = least ([ 1500 ] ++ map (one: (prioritized one).priority) (at name definitions));
        }
      else
        annotated option (at name definitions)
    ) options;
  # What no option names is kept, as below `system.build`.
  merge =
    options: definitions:
    let
      names = builtins.attrNames (deepMerge ([ options ] ++ definitions));
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value =
          let
            values = at name definitions;
            option = options.${name} or null;
          in
          if option != null && isOption option then
            (option.apply or (value: value)) (
              if option.type or "" == "modules" then
                builtins.foldl' (all: one: all // builtins.mapAttrs (key: module: { imports = (all.${key}.imports or [ ]) ++ [ module ]; }) one) { } values
              else
                strongest (values ++ (if option ? default then [ (lib.mkOptionDefault option.default) ] else [ ]))
            )
          else if values != [ ] && builtins.all (one: isAttrs one && !(one ? _type) && !(one ? outPath)) values then
            merge (if option == null then { } else option) values
          else if values == [ ] then
            merge option [ ]
          else
            strongest values;
      }) names
    );
  strongest =
    values:
    let
      all = map prioritized values;
      best = least (map (one: one.priority) all);
      kept = map (one: one.content) (builtins.filter (one: one.priority == best) all);
    in
    if builtins.isList (builtins.head kept) then builtins.concatLists kept else builtins.head kept;
in
{
  evalModules = modules: evaluated { inherit modules; arguments = { }; };
}
