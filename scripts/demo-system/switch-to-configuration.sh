#!@bash@
# switch-to-configuration boot|switch: makes this system the one that the boot loader starts.
#
# The boot loader itself is installed where it is another than before, or where
# NIXOS_INSTALL_BOOTLOADER is 1. Works in a chroot on a new image: nothing outside the store is run.
set -euo pipefail
export INSTALL_BOOTLOADER='@installBootLoader@' # where NixOS has it

case "${1:-}" in
  boot | switch)
    "$INSTALL_BOOTLOADER" @systemConfig@
    @busybox@ sync
    [ "$1" != switch ] || @systemConfig@/activate
    ;;
  *)
    echo "usage: ${0##*/} boot|switch" >&2
    exit 1
    ;;
esac
