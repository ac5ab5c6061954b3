#!@bash@
# switch-to-configuration boot|switch: makes this system the one that GRUB starts.
#
# Writes /boot/grub/grub.cfg with every generation of the system profile. When
# NIXOS_INSTALL_BOOTLOADER is 1 it first installs GRUB: on BIOS in the boot sector of the disk
# that holds /boot. Works in a chroot on a new image: nothing outside the store is run.
set -euo pipefail

systemConfig=@systemConfig@
profiles=/nix/var/nix/profiles
busybox() { @busybox@ "$@"; }
lines() { printf '%s\n' "$@"; }

# The whole disk below the file system that holds $1: /dev/vda for /dev/vda3.
disk_of() {
  local number device
  number=$(busybox stat -c %d "$1")
  # dev_t as glibc's gnu_dev_major and gnu_dev_minor take it apart
  number=$((number >> 8 & 0xfff)):$((number & 0xff | number >> 12 & 0xfff00))
  device=$(busybox readlink -f "/sys/dev/block/$number")
  [ ! -e "$device/partition" ] || device=${device%/*}
  echo "/dev/${device##*/}"
}

# One menu entry: $1 is its title, $2 the toplevel.
entry() {
  lines \
    "menuentry \"$1\" {" \
    "  linux $(busybox readlink -f "$2/kernel") init=$2/init $(< "$2/kernel-params")" \
    "  initrd $(busybox readlink -f "$2/initrd")" \
    "}"
}

menu() {
  local link number date
  lines \
    "serial --unit=0 --speed=115200" \
    "terminal_input serial console" \
    "terminal_output serial console" \
    "set default=0" \
    "set timeout=1" \
    "search --set=root --label nixos"
  entry "NixOS" "$systemConfig"
  echo 'submenu "NixOS - All configurations" {'
  for link in $(printf '%s\n' "$profiles"/system-*-link | busybox sort -Vr); do
    [ -e "$link/init" ] || continue
    number=${link##*/system-}
    date=$(busybox date -d "@$(busybox stat -c %Y "$link")" +%F) # of the link, not of the store path
    entry "NixOS - Configuration ${number%-link} ($date - $(< "$link/nixos-version"))" \
      "$(busybox readlink -f "$link")"
  done
  echo '}'
}

install_grub() {
  local disk
  disk=$(disk_of /boot)
  echo "installing GRUB on $disk" >&2
  @grubInstall@ --target=i386-pc --directory=@grubModules@ --boot-directory=/boot \
    --recheck "$disk"
}

case "${1:-}" in
  boot | switch)
    busybox mkdir -p /boot/grub
    [ "${NIXOS_INSTALL_BOOTLOADER:-}" != 1 ] || install_grub
    menu > /boot/grub/grub.cfg.new
    busybox mv /boot/grub/grub.cfg.new /boot/grub/grub.cfg
    busybox sync
    [ "$1" != switch ] || "$systemConfig/activate"
    ;;
  *)
    echo "usage: ${0##*/} boot|switch" >&2
    exit 1
    ;;
esac
