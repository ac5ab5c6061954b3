#!@bash@
# install-systemd-boot.sh TOPLEVEL: writes an entry for every generation of the system profile, of
# which that of TOPLEVEL is the default; with NIXOS_INSTALL_BOOTLOADER=1 also systemd-boot itself.
#
# Behaves as NixOS's installer (nixpkgs,
# nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py): entries and kernels in
# /boot, which is the ESP or the XBOOTLDR partition, all else in the ESP. That one is in Python and
# has its settings as constants; these are read here.
set -euo pipefail
shopt -s nullglob

toplevel=$1
profile=/nix/var/nix/profiles/system
busybox() { @busybox@ "$@"; }
lines() { printf '%s\n' "$@"; }

# A constant out of the settings, which are Python.
setting() { busybox sed -n "s/^$1 = [^\"]*\"\([^\"]*\)\".*/\1/p" @settings@; }
esp=$(setting EFI_SYS_MOUNT_POINT)
boot=$(setting BOOT_MOUNT_POINT)

# Sets `placed` to the path in /boot for a file of the store, copied there if need be.
declare -A wanted
place_file() {
  local name=${1#/nix/store/}
  name=EFI/nixos/${name//\//-}.efi
  [ -e "$boot/$name" ] || busybox cp "$1" "$boot/$name"
  wanted[$boot/$name]=1
  placed=/$name
}

# The entry of a generation: its number and its link. It is named by its contents.
entry() {
  local kernel placed label built text
  place_file "$(busybox readlink -f "$2/kernel")"
  kernel=$placed
  place_file "$(busybox readlink -f "$2/initrd")"
  label=$(busybox sed -n 's/.*"label":"\([^"]*\)".*/\1/p' "$2/boot.json")
  built=$(busybox date -d "@$(busybox stat -L -c %Z "$2")" +%F)
  text=$(
    lines "title $(setting DISTRO_NAME)" "version Generation $1 $label, built on $built" \
      "linux $kernel" "initrd $placed" \
      "options init=$(busybox readlink -f "$2/init") $(< "$2/kernel-params")" "sort-key nixos"
  )
  name=$(printf %s "$text" | busybox sha256sum)
  name=nixos-${name%% *}.conf
  [ -e "$boot/loader/entries/$name" ] || printf %s "$text" > "$boot/loader/entries/$name"
  wanted[$boot/loader/entries/$name]=1
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
  [ "$(busybox readlink -f "$link")" != "$toplevel" ] || default=$name
done
lines "timeout $(setting TIMEOUT)" "default $default" "console-mode $(setting CONSOLE_MODE)" \
  > "$esp/loader/loader.conf.tmp"
busybox mv "$esp/loader/loader.conf.tmp" "$esp/loader/loader.conf"
for file in "$boot"/EFI/nixos/* "$boot"/loader/entries/nixos*; do
  [ -n "${wanted[$file]:-}" ] || busybox rm "$file"
done
