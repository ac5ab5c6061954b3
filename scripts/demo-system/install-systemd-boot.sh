#!@bash@
# install-systemd-boot.sh TOPLEVEL: writes an entry for every generation of the system profile, of
# which that of TOPLEVEL is the default; with NIXOS_INSTALL_BOOTLOADER=1 also systemd-boot itself.
#
# Behaves as NixOS's installer (nixpkgs,
# nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py): entries and kernels in
# /boot, which is the ESP or the XBOOTLDR partition, all else in the ESP.
set -euo pipefail
shopt -s nullglob

toplevel=$1
boot=/boot
esp=@esp@
profile=/nix/var/nix/profiles/system
busybox() { @busybox@ "$@"; }
lines() { printf '%s\n' "$@"; }

# Sets `placed` to the path in /boot for a file of the store, copied there if need be.
declare -A wanted
place_file() {
  local name=${1#/nix/store/}
  name=EFI/nixos/${name//\//-}.efi
  [ -e "$boot/$name" ] || busybox cp "$1" "$boot/$name"
  wanted[$boot/$name]=1
  placed=/$name
}

# The entry of a generation: its number and its link.
entry() {
  local kernel placed label built file=$boot/loader/entries/nixos-generation-$1.conf
  place_file "$(busybox readlink -f "$2/kernel")"
  kernel=$placed
  place_file "$(busybox readlink -f "$2/initrd")"
  label=$(busybox sed -n 's/.*"label":"\([^"]*\)".*/\1/p' "$2/boot.json")
  built=$(busybox date -d "@$(busybox stat -L -c %Z "$2")" +%F)
  lines "title NixOS" "sort-key nixos" "version Generation $1 $label, built on $built" \
    "linux $kernel" "initrd $placed" \
    "options init=$(busybox readlink -f "$2/init") $(< "$2/kernel-params")" > "$file.tmp"
  busybox mv "$file.tmp" "$file"
  wanted[$file]=1
}

if [ "${NIXOS_INSTALL_BOOTLOADER:-}" = 1 ]; then
  echo "installing systemd-boot into $esp..." >&2
  busybox mkdir -p "$esp/EFI/systemd" "$esp/EFI/BOOT" "$esp/loader"
  busybox cp @program@ "$esp/EFI/systemd/systemd-bootx64.efi"
  busybox cp @program@ "$esp/EFI/BOOT/BOOTX64.EFI"
elif [ ! -e "$esp/EFI/systemd/systemd-bootx64.efi" ]; then
  echo "there is no systemd-boot in $esp: set NIXOS_INSTALL_BOOTLOADER=1" >&2
  exit 1
fi

busybox mkdir -p "$boot/EFI/nixos" "$boot/loader/entries"
for link in "$profile"-*-link; do
  number=${link#"$profile-"} number=${number%-link}
  entry "$number" "$link"
  [ "$(busybox readlink -f "$link")" != "$toplevel" ] || default=$number
done
lines "timeout 1" "default nixos-generation-$default.conf" "console-mode keep" \
  > "$esp/loader/loader.conf.tmp"
busybox mv "$esp/loader/loader.conf.tmp" "$esp/loader/loader.conf"
for file in "$boot"/EFI/nixos/* "$boot"/loader/entries/nixos*; do
  [ -n "${wanted[$file]:-}" ] || busybox rm "$file"
done
