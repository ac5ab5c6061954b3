#!@busybox@ sh
# Makes the mutable part of the root agree with this system: /etc, users, and the places where
# Debian's programs look for their loader and libraries. Harmless to repeat, and needs nothing
# but the store, so that it also works in a chroot on a new image.

systemConfig=@systemConfig@
umask 022
mkdir -p /bin /etc /home /run /usr /var/empty /var/log /var/tmp
[ -d /root ] || mkdir -m 700 /root
[ -d /tmp ] || mkdir /tmp
chmod 1777 /tmp /var/tmp
ln -sfn "$systemConfig" /run/current-system

# Links $1 to $2; where $1 is a directory of its own it gets links to what it lacks.
place() {
  if [ -L "$1" ] || [ ! -e "$1" ]; then
    ln -sfn "$2" "$1"
  else
    ln -s "$2"/* "$1/" 2>/dev/null
  fi
}
place /lib "$systemConfig/sw/lib"
place /lib64 "$systemConfig/sw/lib64"
place /sbin "$systemConfig/sw/bin"
place /usr/bin "$systemConfig/sw/bin"
place /usr/sbin "$systemConfig/sw/bin"
place /usr/lib "$systemConfig/sw/lib"
place /usr/libexec "$systemConfig/sw/libexec"
place /usr/share "$systemConfig/sw/share"
[ -e /bin/sh ] || ln -sfn "$systemConfig/sw/bin/sh" /bin/sh

ln -sfn "$systemConfig/etc" /etc/static
for file in "$systemConfig"/etc/*; do
  name=${file##*/}
  case $name in
    passwd | group | shadow) ;; # programs change these, so they are files, made once
    *) ln -sfn "/etc/static/$name" "/etc/$name" ;;
  esac
done
for name in passwd group shadow; do
  [ -e /etc/$name ] || cp "$systemConfig/etc/$name" /etc/$name
done
chmod 644 /etc/passwd /etc/group
chmod 600 /etc/shadow
ln -sfn /proc/mounts /etc/mtab
touch /etc/NIXOS

if [ ! -d /home/user ]; then
  mkdir -m 700 /home/user
  chown 1000:100 /home/user
fi
