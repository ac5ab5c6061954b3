# The command `assemble` and its two companions, out of nixpkgs: pkgs.callPackage ./package.nix { }
{
  lib,
  python3Packages,
  dosfstools,
  e2fsprogs,
  grub2,
  grub2_efi,
  mtools,
  nix,
  util-linux,
}:
python3Packages.buildPythonApplication {
  pname = "assemble";
  version = "0.1.0";
  pyproject = true;
  # What the program consists of, without what is built beside it.
  src = builtins.path {
    name = "assemble-source";
    path = ../.;
    filter =
      path: _type:
      let
        name = lib.removePrefix "${toString ../.}/" path;
      in
      builtins.match "README\\.md|pyproject\\.toml|assembler(/.*)?" name != null
      && builtins.match ".*__pycache__.*" name == null;
  };
  build-system = [ python3Packages.setuptools ];
  dependencies = with python3Packages; [
    cffi
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
      util-linux
    ])
    "--prefix"
    "LD_LIBRARY_PATH"
    ":"
    (lib.makeLibraryPath [
      e2fsprogs
      util-linux
    ]) # libext2fs and libfdisk, which are opened at run time
  ];
}
