#!/bin/busybox sh
# The first program of the initrd: finds the root file system and starts the system on it.
# Takes from the kernel's command line root= (default LABEL=nixos), rootfstype= (default: whichever fits) and
# init=, which the boot loader sets to <toplevel>/init.

/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /mnt-root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

root=LABEL=nixos
fstype=auto
init=/init
for parameter in $(cat /proc/cmdline); do
  case $parameter in
    root=*) root=${parameter#root=} ;;
    rootfstype=*) fstype=${parameter#rootfstype=} ;;
    init=*) init=${parameter#init=} ;;
  esac
done

fail() {
  echo "demo: stage 1 failed: $*"
  exec setsid cttyhack sh
}

while read -r module; do
  insmod "$module" || echo "demo: cannot load $module"
done < /modules

# Disks appear some time after their driver; ten seconds are enough for a slow one.
tries=0
while :; do
  case $root in
    PARTLABEL=*)
      device=$(grep -lx "PARTNAME=${root#PARTLABEL=}" /sys/class/block/*/uevent)
      device=${device%/uevent}
      device=/dev/${device##*/}
      ;;
    *=*) device=$(findfs "$root" 2>/dev/null) ;;
    *) device=$root ;;
  esac
  [ -b "$device" ] && break
  tries=$((tries + 1))
  [ $tries -le 100 ] || fail "there is no $root among: $(ls /sys/class/block)"
  sleep 0.1
done

mount -t "$fstype" -o rw "$device" /mnt-root || fail "cannot mount $device ($fstype)"
# $init may be a link whose absolute target exists only after the switch, hence -L.
[ -e "/mnt-root$init" ] || [ -L "/mnt-root$init" ] || fail "there is no $init on $device"
for directory in proc sys dev; do
  mkdir -p "/mnt-root/$directory"
  mount --move "/$directory" "/mnt-root/$directory"
done
exec switch_root /mnt-root "$init"
