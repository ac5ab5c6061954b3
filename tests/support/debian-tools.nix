# What an image builder needs, as store paths made of this Debian machine's files: `tools`, a store
# path with patched programs, `assemble`, the command over them, and `withAppliance`, the same with
# libguestfs's appliance, which is large.
#
# Where the builders run there must be no sandbox: they copy from /usr. `stamp` is of the machine's
# packages, so that others are copied when these change.
{
  stamp,
  # paths of Python packages, with blanks between them
  python,
  # the source of the program
  source,
}:
let
  system = "x86_64-linux";
  host = {
    inherit system stamp;
    PATH = "/usr/bin:/usr/sbin:/bin:/sbin";
  };

  tools = derivation (
    host
    // {
      inherit python;
      name = "debian-tools";
      builder = "/usr/bin/python3";
      args = [ ./debian_tools.py ];
      programs = ''
        bash cat chmod cp id ln ls mkdir mktemp mv rm sha256sum sort tee touch
        find grep gzip sed tar
        debugfs dumpe2fs e2fsck mke2fs
        mcopy mmd fsck.fat mkfs.fat
        sfdisk
        grub-editenv grub-file grub-fstest grub-mkimage grub-script-check
        nix nix-hash nix-instantiate nix-store
        pigz qemu-img qemu-system-x86_64 xz zstd
      '';
      converting = "fsck.fat mcopy mkfs.fat mmd";
      libraries = "libcom_err.so.2 libext2fs.so.2 libfdisk.so.1 libzstd.so.1";
      trees = ''
        /usr/lib/x86_64-linux-gnu/gconv:lib/gconv
        /usr/lib/x86_64-linux-gnu/qemu:lib/x86_64-linux-gnu/qemu
        /usr/lib/grub:lib/grub
        /usr/lib/systemd/boot/efi:lib/systemd/boot/efi
        /usr/share/qemu:share/qemu
        /usr/share/seabios:share/qemu
        /usr/lib/ipxe/qemu:share/qemu
      '';
    }
  );

  # As libguestfs-make-fixed-appliance makes it, without a start of the appliance.
  appliance = derivation (
    host
    // {
      name = "libguestfs-appliance";
      builder = "/bin/bash";
      args = [
        "-euc"
        ''
          mkdir $out
          supermin --build --copy-kernel -f ext2 --host-cpu x86_64 -o $out \
            /usr/lib/x86_64-linux-gnu/guestfs/supermin.d
          touch $out/README.fixed
          resize2fs -M $out/root
          [ -s $out/root ] # see below
        ''
      ];
    }
  );

  package = environment: derivation {
    inherit system source;
    name = "assemble";
    builder = "${tools}/bin/bash";
    PATH = "${tools}/bin";
    args = [
      "-euc"
      ''
        mkdir -p $out/bin $out/lib
        cp -r $source/assembler $source/assemble_start.py $out/lib
        cat > $out/bin/assemble <<END
        #!${tools}/bin/bash
        export PATH=${tools}/bin PYTHONPATH=$out/lib
        ${environment}
        exec ${tools}/bin/python3 -c 'import assemble_start; assemble_start.assemble_main()' "\$@"
        END
        chmod +x $out/bin/assemble
        [ -x $out/bin/assemble ] # coreutils close their output early, and Nix kills what did last
      ''
    ];
  };
in
{
  inherit tools;
  assemble = package "";
  withAppliance = package ''
    export LIBGUESTFS_PATH=${appliance} LIBGUESTFS_HV=${tools}/bin/qemu-system-x86_64
  '';
}
