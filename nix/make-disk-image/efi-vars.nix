# Shell code that makes $out/efi-vars.fd: a copy of efiVariables, with an entry that has the title
# that the boot loader's installer gives it, if boot.loader.efi.canTouchEfiVariables is set.
{
  pkgs,
  lib,
  config,
  efiVariables,
  installBootLoader,
}:
let
  loaders = config.boot.loader;
  architecture = pkgs.stdenv.hostPlatform.efiArch;
  # As nixpkgs' grub.nix names it for the first of its directories.
  mirrors = loaders.grub.mirroredBoots or [ ];
  first = if mirrors == [ ] then { } else builtins.head mirrors;
  mountPoint = first.efiSysMountPoint or loaders.efi.efiSysMountPoint or "/boot";
  bootloaderId =
    if first.efiBootloaderId or null != null then
      first.efiBootloaderId
    else
      "${config.system.nixos.distroName or "NixOS"}${builtins.replaceStrings [ "/" ] [ "-" ] mountPoint}";
  entry =
    if loaders.systemd-boot.enable or false then
      {
        title = "Linux Boot Manager";
        file = "\\EFI\\systemd\\systemd-boot${architecture}.efi";
      }
    else
      {
        title = bootloaderId;
        file = "\\EFI\\BOOT\\BOOT${lib.toUpper architecture}.EFI";
      };
  added = installBootLoader && loaders.efi.canTouchEfiVariables or false;
in
''
  efiVars=$out/efi-vars.fd
  cp ${efiVariables} "$efiVars"
  chmod 0644 "$efiVars"
''
+ (
  if !added then
    ""
  else
    ''
      # virt-fw-vars has no option for the title, which is in UTF-16.
      inHex() {
        local n
        for ((n = 0; n < ''${#1}; n++)); do
          printf %02x00 \'"''${1:n:1}"
        done
      }
      virtFwVars=${pkgs.buildPackages.python3Packages.virt-firmware}/bin/virt-fw-vars
      "$virtFwVars" --inplace "$efiVars" --append-boot-filepath '${entry.file}'
      "$virtFwVars" --input "$efiVars" --output-json efi-vars.json
      title=$(inHex "file ${baseNameOf (builtins.replaceStrings [ "\\" ] [ "/" ] entry.file)}")
      vars=$(< efi-vars.json)
      printf %s "''${vars/"$title"/"$(inHex '${entry.title}')"}" > efi-vars.json
      "$virtFwVars" --inplace "$efiVars" --set-json efi-vars.json
    ''
)
