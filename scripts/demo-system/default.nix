# A closure in the shape of a NixOS system, made of Debian packages.
#
# Every builder is the static busybox out of its Debian package, so that nothing of the machine
# that builds takes part: the same packages give the same bytes, inside the build sandbox too.
{
  # directory of .deb files: a complete dependency closure; or what `inputs.debs` gives
  debs,
  # directory that holds a static `busybox`
  bootstrap,
  label ? "23.05.demo",
  kernelParams ? [
    "console=ttyS0,115200"
    "panic=-1"
    "loglevel=4"
    # On a busy host an emulated timer can be late, which Linux takes for a broken one: it panics.
    "no_timer_check"
  ],
  # Further ones, a list as JSON.
  moreParams ? "[]",
  # Modules the initrd loads, with what they depend on: the disks that virtual machines offer, and
  # file systems for the root (not btrfs, which tries out all its RAID 6 codes when it is loaded).
  bootModules ? "virtio_pci virtio_blk virtio_scsi sd_mod nvme ext4 xfs",
  # "grub" or "systemd-boot"
  bootLoader ? "grub",
  # How /etc/fstab names the root.
  rootDevice ? "/dev/disk/by-label/nixos",
  # Where /boot lies: in the "root", or on the "esp" or the "xbootldr" partition.
  boot ? "root",
  # Whether GRUB is for "no" UEFI, "both" UEFI and BIOS, or UEFI "only", in the words of NixOS.
  efi ? "both",
  # What grub.cfg has besides what NixOS puts there by itself; the demo's only console is serial.
  grubExtraConfig ? ''
    serial --unit=0 --speed=115200
    terminal_input serial console
    terminal_output serial console
  '',
  # Seconds for which the menu is shown, during which an emulated machine computes; NixOS has 5.
  timeout ? "0",
  # The name of a specialisation, which becomes a kernel parameter; "" for none.
  specialisation ? "",
}:
let
  system = "x86_64-linux";

  allParams = kernelParams ++ builtins.fromJSON moreParams;

  tools = builtins.path {
    path = bootstrap;
    name = "bootstrap-tools";
  };
  run =
    name: attributes: script:
    derivation (
      {
        inherit name system;
        builder = "${tools}/busybox";
        args = [
          "sh"
          "-euc"
          script
        ];
        SOURCE_DATE_EPOCH = "1";
        # The build directory belongs to a user who differs from machine to machine.
        HOME = "/homeless-shelter";
      }
      // attributes
    );

  # Fills in the @names@ of a script with the attributes of the same names.
  script =
    name: file: values:
    run name { inherit file; } ''
      sed ${
        builtins.concatStringsSep " " (
          map (key: "-e 's|@${key}@|${values.${key}}|g'") (builtins.attrNames values)
        )
      } $file > $out
      chmod 555 $out
    '';

  # "libc6_2.36-9_amd64.deb" -> { package = "libc6"; version = "2.36-9"; src = /nix/store/…; },
  # without the epoch.
  parse =
    file:
    let
      fields = builtins.match "([^_]+)_([0-9]+%3a)?([^_]+)_[^_]+\\.deb" file;
    in
    if fields == null then
      null
    else
      rec {
        package = builtins.elemAt fields 0;
        # "~" is legal in a Debian version and not in a store path.
        version = builtins.replaceStrings [ "~" ] [ "-" ] (builtins.elemAt fields 2);
        src = builtins.path {
          path = debs + "/${file}";
          name = "${package}-${version}.deb";
        };
      };
  # What Debian needs to install and configure packages, and nothing in the demo runs.
  isUnused = deb: builtins.match "(lib)?perl.*|lib.*-perl|debconf|dpkg|udev" deb.package != null;
  all =
    if builtins.isList debs then
      debs
    else
      builtins.filter (deb: deb != null && !isUnused deb) (
        map parse (builtins.attrNames (builtins.readDir debs))
      );

  # One store path for each Debian package, /usr merged into the root of it. Owners and setuid
  # bits stay behind, as everything in a store is root's and plain.
  unpack =
    deb:
    run "${deb.package}-${deb.version}" { inherit (deb) src; }
      ''
        mkdir tree
        ar p $src data.tar.xz | xz -dc | tar -x -o --no-same-permissions -C tree
        # Since Debian 13 base-files has the links of a merged /usr, as bin -> usr/bin.
        for link in tree/*; do
          case $(readlink $link) in usr/*) rm $link ;; esac
        done
        chmod -R u+rwX,go-w,a-st tree
        rm -rf tree/var tree/run tree/tmp tree/usr/share/doc tree/usr/share/man \
          tree/usr/share/locale tree/usr/share/info tree/usr/share/lintian
        # As after a way through a NAR, which most store paths have gone, no file has two names.
        find tree -type f -links +1 | while read -r file; do
          cp -p "$file" single
          mv -f single "$file"
        done

        # Some programs are a file in bin and a link to it in sbin: the file comes last and stays.
        mkdir $out
        for part in usr/sbin sbin usr/bin bin; do
          [ -d tree/$part ] || continue
          mkdir -p $out/bin
          find tree/$part -mindepth 1 -maxdepth 1 -exec mv -f {} $out/bin/ \;
          rm -r tree/$part
        done
        [ ! -d tree/usr ] || { cp -a tree/usr/. $out/; rm -r tree/usr; }
        cp -a tree/. $out/

        # A link to a file of this very package works whether or not the file is at its old place.
        find $out -type l | while read -r link; do
          target=$(readlink $link)
          case $target in /usr/*) own=''${target#/usr} ;; /*) own=$target ;; *) continue ;; esac
          case $own in /sbin/*) own=/bin/''${own#/sbin/} ;; esac
          if [ "$out$own" != $link ] && { [ -e $out$own ] || [ -L $out$own ]; }; then
            ln -sfn $out$own $link
          fi
        done
      '';

  isKernel = deb: builtins.match "linux-image-[0-9].*" deb.package != null;
  kernelDeb = builtins.head (builtins.filter isKernel all);
  kernelVersion = builtins.substring 12 (-1) kernelDeb.package;
  isGrub = deb: builtins.match "grub.*" deb.package != null;
  userland = builtins.filter (deb: !isKernel deb && !isGrub deb) all;
  package = name: builtins.head (builtins.filter (deb: deb.package == name) all);
  named = name: unpack (package name);
  busybox = "${named "busybox-static"}/bin/busybox";
  bash = "${named "bash-static"}/bin/bash-static";

  # NixOS's `sw`: links to the files of all packages, of the directories that a system has use for.
  systemPath = run "system-path" { packages = map unpack userland ++ [ booting.grub ]; } ''
    mkdir $out
    for package in $packages; do
      for part in bin etc lib lib64 libexec share; do
        [ -d $package/$part ] || continue
        cp -rs $package/$part $out/
        # cp copies the read-only modes of the directories too.
        (cd $package && find $part -type d -print0) | (cd $out && xargs -0 chmod 755)
      done
    done
    ln -sfn ${bash} $out/bin/sh
    ln -s mawk $out/bin/awk
    ln -s bin $out/sbin
    # where kmod looks for the modules of the running kernel
    ln -s /run/booted-system/kernel-modules/lib/modules $out/lib/modules
  '';

  # Runs a program of the system path where there is no /lib64 to find its loader in.
  loader = "${systemPath}/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
  libraries = "${systemPath}/lib/x86_64-linux-gnu";
  dynamic = "${loader} --library-path ${libraries}";
  kmod = "${dynamic} --argv0";

  kernel = run "linux-${kernelVersion}" { src = unpack kernelDeb; } ''
    mkdir -p $out/lib/modules
    cp $src/boot/vmlinuz-${kernelVersion} $out/bzImage
    cp $src/boot/config-${kernelVersion} $out/config
    cp $src/boot/System.map-${kernelVersion} $out/System.map
    cp -a $src/lib/modules/${kernelVersion} $out/lib/modules/
    chmod -R u+w $out
    # A machine without a network has no use for a third of the modules.
    cd $out/lib/modules/${kernelVersion}/kernel
    rm -r net drivers/net drivers/infiniband fs/ceph fs/nfs fs/nfsd fs/smb
    ${kmod} depmod ${systemPath}/bin/kmod -b $out ${kernelVersion}
  '';

  initrd = run "initrd-linux-${kernelVersion}" { init = ./stage-1-init.sh; } ''
    mkdir -p root/bin root/lib $out
    cp ${busybox} root/bin/busybox
    cp $init root/init
    chmod 755 root/init
    for module in ${bootModules}; do
      ${kmod} modprobe ${systemPath}/bin/kmod -d ${kernel} -S ${kernelVersion} -D $module
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' > order
    while read -r module; do
      cp $module root/lib/
      echo /lib/$(basename $module) >> root/modules
    done < order
    find root -exec touch -h -d @1 {} +
    cd root
    find . | sort | cpio -o -H newc -R 0:0 --renumber-inodes --ignore-devno | gzip -9n \
      > $out/initrd
  '';

  booting = import ./boot.nix {
    inherit
      run
      script
      named
      bash
      busybox
      dynamic
      systemPath
      bootLoader
      rootDevice
      boot
      efi
      grubExtraConfig
      timeout
      ;
    versionOf = name: (package name).version;
  };

  etc = run "etc" { src = ./etc; inherit (booting) fstab; } ''
    mkdir $out
    cp -r $src $out/etc
    chmod -R u+w $out
    ln -s ${systemPath}/etc/mke2fs.conf $out/etc/mke2fs.conf
    sed -i 's|@label@|${label}|g' $out/etc/os-release
    printf %s "$fstab" > $out/etc/fstab
  '';

  stage2 = script "stage-2-init.sh" ./stage-2-init.sh { inherit bash busybox; };
  activate = script "activate.sh" ./activate.sh { inherit bash busybox; };
  switch = script "switch-to-configuration.sh" ./switch-to-configuration.sh {
    inherit bash busybox;
    inherit (booting) installBootLoader;
  };

  # A bootspec; the toplevel's own path is known to its builder alone: @out@.
  bootspec = toplevel: parameters: inner: {
    "org.nixos.bootspec.v1" = {
      inherit system toplevel;
      kernelParams = parameters;
      init = "${toplevel}/init";
      initrd = "${initrd}/initrd";
      kernel = "${kernel}/bzImage";
      label = "NixOS demo ${label} (Linux ${kernelVersion})";
    };
    "org.nixos.specialisation.v1" = inner;
  };

  # A toplevel: its kernel parameters, and its specialisations by name: what `special` gives.
  makeToplevel =
    parameters: inner:
    run "nixos-system-demo-${label}"
      {
        params = builtins.concatStringsSep " " parameters;
        bootspec = builtins.toJSON (
          bootspec "@out@" parameters (builtins.mapAttrs (_: one: one.bootspec) inner)
        );
        specialisations = map (name: "${name}=${inner.${name}.toplevel}") (builtins.attrNames inner);
      }
      ''
        mkdir -p $out/bin
        cd $out
        ln -s ${kernel}/bzImage kernel
        ln -s ${kernel} kernel-modules
        ln -s ${initrd}/initrd initrd
        ln -s ${systemPath} sw
        ln -s ${etc}/etc etc
        printf %s "$params" > kernel-params
        printf %s ${system} > system
        printf %s ${label} > nixos-version
        mkdir specialisation
        for one in $specialisations; do
          ln -s ''${one#*=} specialisation/''${one%%=*}
        done
        echo "$bootspec" | sed "s|@out@|$out|g" > boot.json
        sed "s|@systemConfig@|$out|g" ${stage2} > init
        sed "s|@systemConfig@|$out|g" ${activate} > activate
        sed "s|@systemConfig@|$out|g" ${switch} > bin/switch-to-configuration
        chmod 555 init activate bin/switch-to-configuration
      '';

  special =
    name:
    let
      parameters = allParams ++ [ "demo.specialisation=${name}" ];
      toplevel = makeToplevel parameters { };
    in
    {
      inherit toplevel;
      bootspec = bootspec "${toplevel}" parameters { };
    };
in
assert bootLoader == "systemd-boot" -> specialisation == "";
makeToplevel allParams (
  if specialisation == "" then { } else { ${specialisation} = special specialisation; }
)
// {
  # What this was built from, in the store: with it a machine can build the system again.
  inputs = {
    debs = all;
    bootstrap = tools;
  };
}
