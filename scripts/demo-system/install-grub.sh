#!@bash@
# install-grub.sh TOPLEVEL: writes GRUB's menu, with TOPLEVEL as the default and every generation
# of the system profile, and installs GRUB itself where that is called for.
#
# Behaves as NixOS's installer (nixpkgs, nixos/modules/system/boot/loader/grub/install-grub.pl):
# what it takes from a machine, and leaves there, NixOS's would take and leave. Its settings are in
# grub-config.xml, as in NixOS.
set -euo pipefail
shopt -s nullglob

toplevel=$1
boot=/boot
profile=/nix/var/nix/profiles/system
busybox() { @busybox@ "$@"; }
dynamic() { @dynamic@ "$@"; }
lines() { printf '%s\n' "$@"; }

# Nix writes an attribute, or an element of a list, on each line; lists become lines.
declare -A setting
read_settings() {
  local line name='' value
  while read -r line; do
    case $line in
      '<attr name='*)
        name=${line#*\"} name=${name%%\"*}
        setting[$name]=
        ;;
      *' value='*)
        value=${line#*\"} value=${value%\"*}
        value=${value//'&#xA;'/$'\n'} value=${value//'&quot;'/\"} value=${value//'&apos;'/\'}
        value=${value//'&lt;'/'<'} value=${value//'&gt;'/'>'} value=${value//'&amp;'/'&'}
        setting[$name]+=${setting[$name]:+$'\n'}$value
        ;;
    esac
  done < @grubConfig@
}

# Sets `device`, `mount` and `inside` (the path in the file system) for where a directory lies.
find_mount() {
  local root place rest
  mount=
  while read -r _ _ _ root place _ rest; do
    if [ "$place" = / ] || [[ $1/ == "$place"/* ]] && [ ${#place} -ge ${#mount} ]; then
      mount=$place
      read -r _ device _ <<< "${rest#*- }"
      inside=${root%/}/${1#"${place%/}/"}
      [ "$1" != "$place" ] || inside=$root
    fi
  done < /proc/self/mountinfo
}

# Sets `search` and `path`, GRUB's for a directory; drives are numbered in the order of the calls.
drives=0
find_drive() {
  local device mount inside identifier
  find_mount "$1"
  identifier=$(dynamic @blkid@ -s "${setting[fsIdentifier]^^}" -o value "$device")
  drives=$((drives + 1))
  case ${setting[fsIdentifier]} in
    uuid) search="search --set=drive$drives --fs-uuid $identifier" ;;
    label) search="search --set=drive$drives --label $identifier" ;;
  esac
  path="(\$drive$drives)$inside"
}

# Sets `placed` to GRUB's path for a file of the store, copied to /boot/kernels if need be.
declare -A copied
place_file() {
  if [ "$copy" = false ]; then
    placed=$store_path${1#/nix/store}
    return
  fi
  local name=${1#/nix/store/}
  name=${name//\//-}
  if [ ! -e "$boot/kernels/$name" ]; then
    busybox cp "$1" "$boot/kernels/$name.tmp"
    busybox mv "$boot/kernels/$name.tmp" "$boot/kernels/$name"
  fi
  copied[$boot/kernels/$name]=1
  placed=$boot_path/kernels/$name
}

# One menu entry: its title, the toplevel, and options.
entry() {
  local kernel placed
  [ -e "$2/kernel" ] && [ -e "$2/initrd" ] || return 0
  place_file "$(busybox readlink -f "$2/kernel")"
  kernel=$placed
  place_file "$(busybox readlink -f "$2/initrd")"
  lines "menuentry \"$1\" $3 {"
  [ "${setting[default]}" != saved ] || lines "  savedefault"
  lines "$boot_search"
  [ "$copy" = true ] || lines "$store_search"
  [ -z "${setting[extraPerEntryConfig]}" ] || lines "  ${setting[extraPerEntryConfig]}"
  lines "  linux $kernel init=$(busybox readlink -f "$2/init") $(< "$2/kernel-params")" \
    "  initrd $placed" "}" ""
}

# The day of a link, not of what it leads to, and the version of that.
dated() { echo "$(busybox date -d "@$(busybox stat -c %Y "$1")" +%F) - $(< "$1/nixos-version")"; }

# A system and its specialisations: title, suffix of it, toplevel, options, and "submenu" if these
# shall have a menu of their own.
system() {
  local link title special=("$3"/specialisation/*)
  [ ${#special[@]} != 0 ] || { entry "$1$2" "$3" "$4" && return; }
  [ "$5" != submenu ] || lines "submenu \"$1$2\" --class submenu {"
  entry "$1 - Default$2" "$3" "$4"
  for link in "${special[@]}"; do
    title="(${link##*/} - $(dated "$link"))"
    [ ! -e "$link/configuration-name" ] || title=$(< "$link/configuration-name")
    entry "$1 - $title" "$link" ""
  done
  [ "$5" != submenu ] || lines "}"
}

menu() {
  local default=${setting[default]} link number count=0
  [ "$default" != saved ] || default='"${saved_entry}"'
  lines "# Written by ${0##*/}: changes are lost."
  [ "$copy" = true ] || lines "$store_search"
  lines "$boot_search" \
    'if [ -s $prefix/grubenv ]; then' '  load_env' 'fi' \
    'if [ "${next_entry}" ]; then' \
    '  set default="${next_entry}"' '  set next_entry=' '  save_env next_entry' \
    '  set timeout=1' '  set boot_once=true' \
    'else' "  set default=$default" "  set timeout=${setting[timeout]}" 'fi' \
    "set timeout_style=${setting[timeoutStyle]}" \
    'function savedefault {' \
    '  if [ -z "${boot_once}" ]; then' '    saved_entry="${chosen}"' '    save_env saved_entry' \
    '  fi' '}' \
    'if [ "${grub_platform}" = "efi" ]; then' '  insmod efi_gop' '  insmod efi_uga' \
    'else' '  insmod vbe' 'fi' \
    "${setting[extraConfig]}"
  [ "${setting[extraEntriesBeforeNixOS]}" = false ] || lines "${setting[extraEntries]}"
  system NixOS "" "$toplevel" "${setting[entryOptions]}" ""
  [ "${setting[extraEntriesBeforeNixOS]}" = true ] || lines "${setting[extraEntries]}"
  lines 'submenu "NixOS - All configurations" --class submenu {'
  for link in $(lines "$profile"-*-link | busybox sort -Vr); do
    [ $((count += 1)) -le "${setting[configurationLimit]}" ] || break
    [ -e "$link/nixos-version" ] || continue
    number=${link#"$profile-"}
    system "NixOS - Configuration ${number%-link}" " ($(dated "$link"))" "$link" \
      "${setting[subEntryOptions]}" submenu
  done
  lines "}"
}

# The record of an installed GRUB: lines to which new ones may be added.
state() {
  local arguments=() paths="\"grub\":\"${setting[grub]}\",\"grubEfi\":\"${setting[grubEfi]}\""
  mapfile -t arguments < <(printf %s "${setting[extraGrubInstallArgs]}")
  arguments=("${arguments[@]/#/\"}")
  arguments=("${arguments[@]/%/\"}")
  lines "${setting[fullName]}" "${setting[fullVersion]}" "$efi" \
    "${setting[devices]//$'\n'/,}" "${setting[efiSysMountPoint]}" \
    "{\"extraGrubInstallArgs\":[$(IFS=,; echo "${arguments[*]}")],$paths}"
}

# The same for comparison: what is in a list counts, and not the order; nor do blanks in JSON.
comparable() {
  local name='' version='' efi='' devices='' esp='' json=''
  { read -r name && read -r version && read -r efi && read -r devices && read -r esp &&
    read -r json; } || :
  local paths=${json##*]}
  json=${json#*[} json=${json%]*}
  lines "$paths" "$name" "$version" "$efi" "$esp" "devices:"
  lines ${devices//,/ } | busybox sort -u
  echo "arguments:"
  lines "${json//[\{\} ]/}" | busybox tr , '\n' | busybox sort -u
}

grub_install() {
  local program=$1/sbin/grub-install platform=$1/lib/grub/$2
  dynamic "$program" --directory="$platform" --target="$2" --recheck --boot-directory="$boot" \
    ${setting[extraGrubInstallArgs]} "${@:3}"
}

install() {
  local device mount inside removable=()
  if [ "$efi" = no ] || [ "$efi" = both ]; then
    for device in ${setting[devices]}; do
      [ "$device" != nodev ] || continue
      echo "installing the GRUB 2 boot loader on $device..." >&2
      grub_install "${setting[grub]}" "${setting[grubTarget]}" "$device"
    done
  fi
  if [ "$efi" = only ] || [ "$efi" = both ]; then
    find_mount "${setting[efiSysMountPoint]}"
    # A disk without ESP shall do for the same demo; NixOS's installer would fail.
    if [ "$mount" != "${setting[efiSysMountPoint]}" ]; then
      echo "nothing is mounted at ${setting[efiSysMountPoint]}: no GRUB 2 for UEFI" >&2
      return
    fi
    echo "installing the GRUB 2 boot loader into $mount..." >&2
    [ "${setting[efiInstallAsRemovable]}" = false ] || removable=(--removable)
    grub_install "${setting[grubEfi]}" "${setting[grubTargetEfi]}" --efi-directory="$mount" \
      --bootloader-id="${setting[bootloaderId]}" --no-nvram "${removable[@]}"
  fi
}

read_settings
efi=neither
[ -z "${setting[grub]}" ] || efi=no
[ -z "${setting[grubEfi]}" ] || efi=only
[ -z "${setting[grub]}" ] || [ -z "${setting[grubEfi]}" ] || efi=both

echo "updating GRUB 2 menu..." >&2
[ -d $boot/grub ] || busybox mkdir -p -m 700 $boot/grub
copy=${setting[copyKernels]}
[ "$(busybox stat -c %d $boot)" = "$(busybox stat -c %d /nix/store)" ] || copy=true
find_drive $boot
boot_search=$search boot_path=$path
if [ "$copy" = true ]; then
  busybox mkdir -p -m 755 $boot/kernels
else
  find_drive "${setting[storePath]}"
  store_search=$search store_path=$path
fi
menu > $boot/grub/grub.cfg.tmp
busybox mv $boot/grub/grub.cfg.tmp $boot/grub/grub.cfg
for file in $boot/kernels/*; do
  [ -z "${copied[$file]:-}" ] || continue
  echo "removing obsolete file $file" >&2
  busybox rm "$file"
done

present=
[ ! -e $boot/grub/state ] || present=$(comparable < $boot/grub/state)
if [ "${NIXOS_INSTALL_BOOTLOADER:-}" = 1 ] || [ "$(state | comparable)" != "$present" ]; then
  install
  state > $boot/grub/state.tmp
  busybox mv $boot/grub/state.tmp $boot/grub/state
fi
