#!@busybox@ sh
# Process 1 of the demo system: mounts what a system needs, activates it, prints a line, and then
# hands the serial console to root's shell or to the script on the second disk. When that ends the
# machine is turned off, or rebooted if there is a file /run/reboot.

systemConfig=@systemConfig@
script=/run/script

mounted() { grep -q " $1 " /proc/mounts; }

mkdir -p /proc /sys /dev /run
[ -e /proc/self ] || mount -t proc proc /proc
mounted /sys || mount -t sysfs sysfs /sys
mounted /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666,gid=3 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
ln -sfn /proc/self/fd /dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do
  ln -sfn "/proc/self/fd/${stream%:*}" "/dev/${stream#*:}"
done

console=/dev/ttyS0
[ -c $console ] || console=/dev/console
exec < $console > $console 2>&1

"$systemConfig/activate"
ln -sfn "$systemConfig" /run/booted-system
hostname demo
ip link set lo up

. /etc/profile

# As udev would have made them.
mkdir -p /dev/disk/by-label
blkid -s LABEL | sed -n 's/^\(.*\): LABEL="\([^" /]*\)".*/\1 \2/p' | while read -r device label; do
  ln -sfn "$device" "/dev/disk/by-label/$label"
done

# The file systems of fstab besides the root; one that is not there shall not stop the boot. The
# mount is that of util-linux, which has all options.
while read -r device place type options _; do
  case $device:$place in '#'* | *: | *:/) continue ;; esac
  mkdir -p "$place"
  /run/current-system/sw/bin/mount -t "$type" -o "$options" "$device" "$place" ||
    echo "demo: nothing is mounted at $place"
done < /etc/fstab

export HOME=/root USER=root PAGER=cat TERM=dumb
cd /root
nix-daemon > /run/nix-daemon.log 2>&1 &

finish() {
  kill -9 -1 # everything but this process: nothing may hold a file open for writing
  sync
  while read -r device place _; do
    case $device in /dev/*) mount -o remount,ro "$place" ;; esac
  done < /proc/mounts
  [ ! -e /run/reboot ] || reboot -f
  poweroff -f
}

echo "demo: ready $systemConfig"

# The script is padded with zeros to whole sectors.
if [ -b /dev/vdb ] && [ "$(head -c 2 /dev/vdb | tr -d '\000')" = '#!' ]; then
  tr -d '\000' < /dev/vdb > $script
  chmod 700 $script
  $script < /dev/null
  echo "demo: exit $?"
  finish
fi

setsid cttyhack bash -i
finish
