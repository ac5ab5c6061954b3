# The three commands as a package of nixpkgs: pkgs.callPackage ./package.nix { }
{
  lib,
  python3Packages,
  dosfstools,
  e2fsprogs,
  grub2,
  grub2_efi,
  mtools,
  nix,
  pigz,
  qemu-utils,
  util-linux,
  xz,
  zstd,
}:
let
  inherit (lib.importTOML ../pyproject.toml) project;
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;
  # The source of the program, without files that are built beside it.
  src = builtins.path {
    name = "assemble-source";
    path = ../.;
    filter =
      path: _type:
      let
        name = lib.removePrefix "${toString ../.}/" path;
      in
      builtins.match "LICENSE|README\\.md|pyproject\\.toml|setup\\.py|assemble_start\\.py|assembler(/.*)?" name != null
      && builtins.match ".*__pycache__.*" name == null;
  };
  # Man pages and completions are part of the wheel, and so come to share/ of the output.
  build-system = with python3Packages; [
    argparse-manpage
    setuptools
    shtab
  ];
  dependencies = with python3Packages; [
    cffi
    pyparted
    tqdm
  ];
  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath [
      dosfstools
      e2fsprogs
      grub2
      grub2_efi
      mtools
      nix
      pigz
      qemu-utils
      util-linux
      xz
      zstd
    ])
    "--prefix"
    "LD_LIBRARY_PATH"
    ":"
    (lib.makeLibraryPath [
      e2fsprogs
      util-linux
    ]) # libext2fs and libfdisk, which are opened at run time
  ];
  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    mainProgram = "assemble";
    platforms = lib.platforms.linux;
  };
}
