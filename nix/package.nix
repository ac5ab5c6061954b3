# The three commands as a package of nixpkgs: pkgs.callPackage ./package.nix { }
{
  lib,
  python3Packages,
  versionCheckHook,

  coreutils,
  dosfstools,
  e2fsprogs,
  findutils,
  gnutar,
  grub2,
  grub2_efi,
  gzip,
  mtools,
  nix,
  pigz,
  qemu-utils,
  util-linux,
  xz,
  zstd,

  # whether it can start libguestfs's appliance: for btrfs, XFS and F2FS, and for boot loaders that
  # the system's own installer installs
  withGuestfs ? false,
  libguestfs-appliance,
}:
let
  inherit (lib.importTOML ../pyproject.toml) project;
  librariesOf = package: "${lib.getLib package}/lib";
  namesBelow =
    name:
    let
      entries = removeAttrs (builtins.readDir (../. + "/${name}")) [ "__pycache__" ];
      withNamesBelow =
        entry:
        [ "${name}/${entry}" ]
        ++ (if entries.${entry} == "directory" then namesBelow "${name}/${entry}" else [ ]);
    in
    builtins.concatMap withNamesBelow (builtins.attrNames entries);
  sources = [
    "LICENSE"
    "README.md"
    "assemble_start.py"
    "assembler"
    "pyproject.toml"
    "setup.py"
  ]
  ++ namesBelow "assembler";
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;
  # The source of the program, without files that are built beside it.
  src = builtins.path {
    name = "assemble-source";
    path = ../.;
    # Nix gives a path with or without its symlinks followed, so that only its end is known.
    filter = path: _type: builtins.any (name: lib.hasSuffix "/${name}" path) sources;
  };

  # The libraries that are opened at run time.
  postPatch = ''
    substituteInPlace assembler/host/shared_objects.py \
      --replace-fail libcom_err.so ${librariesOf e2fsprogs}/libcom_err.so \
      --replace-fail libext2fs.so ${librariesOf e2fsprogs}/libext2fs.so \
      --replace-fail libfdisk.so ${librariesOf util-linux}/libfdisk.so \
      --replace-fail libzstd.so ${librariesOf zstd}/libzstd.so
  '';

  # Man pages and completions are part of the wheel, and so come to share/ of the output. They are
  # made from the commands' parsers, which import cffi.
  build-system = with python3Packages; [
    argparse-manpage
    cffi
    setuptools
    shtab
  ];
  dependencies =
    with python3Packages;
    [
      cffi
      pyparted
      tqdm
    ]
    ++ lib.optionals withGuestfs [ guestfs ];

  # Every program that is run: nothing need be on the PATH of the caller.
  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath [
      coreutils
      dosfstools
      e2fsprogs
      findutils
      gnutar
      grub2
      grub2_efi
      gzip
      mtools
      nix
      pigz
      qemu-utils
      util-linux
      xz
      zstd
    ])
  ]
  ++ lib.optionals withGuestfs [
    "--set-default"
    "LIBGUESTFS_PATH"
    (
      if libguestfs-appliance.meta.available or true then
        libguestfs-appliance
      else
        throw "assemble: withGuestfs needs libguestfs-appliance, which nixpkgs has not for this system: leave withGuestfs out, or override libguestfs-appliance with a fixed appliance of your own (libguestfs-make-fixed-appliance)"
    )
  ];

  # The tests need Debian and a store of their own: scripts/run-tests.
  nativeCheckInputs = [ versionCheckHook ];
  pythonImportsCheck = [ "assembler" ];

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    mainProgram = "assemble";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}
