# How the demo is booted: what a NixOS system has of `boot.loader` and `fileSystems`.
{
  run,
  script,
  # the unpacked Debian package of a name, and its version
  named,
  versionOf,
  bash,
  busybox,
  # runs a dynamic program of the system path, wherever it is
  dynamic,
  systemPath,
  bootLoader,
  rootDevice,
  boot,
  efi,
  grubExtraConfig,
  timeout,
}:
let
  # GRUB for one platform is one store path of the name that it has in nixpkgs.
  version = builtins.head (builtins.match "([0-9.]+)-.*" (versionOf "grub-common"));
  grubFor =
    modules:
    run "grub-${version}"
      {
        packages = map named [
          "grub-common"
          "grub2-common"
          modules
        ];
      }
      ''
        mkdir $out
        for package in $packages; do
          cp -a $package/. $out/
          chmod -R u+w $out
        done
        rm -rf $out/lib/grub/*/monolithic
        ln -s bin $out/sbin
      '';
  grub = grubFor "grub-pc-bin";
  grubEfi = grubFor "grub-efi-amd64-bin";

  # Where the ESP is mounted, as nixpkgs' make-disk-image.nix or NixOS's manual has it.
  esp = builtins.getAttr boot {
    root = "/boot/efi";
    esp = "/boot";
    xbootldr = "/efi";
  };
  line = label: place: options: "/dev/disk/by-label/${label} ${place} ${options}\n";
  fat = "vfat umask=0077,nofail 0 2";

  # The attributes that nixpkgs' grub.nix writes, with NixOS's defaults for what is left open.
  grubConfig = run "grub-config.xml" {
    text = builtins.toXML {
      splashImage = "";
      splashMode = "stretch";
      backgroundColor = "";
      entryOptions = "--class nixos --unrestricted";
      subEntryOptions = "--class nixos";
      grub = if efi == "only" then "" else "${grub}";
      grubTarget = if efi == "only" then "" else "i386-pc";
      shell = bash;
      fullName = "grub";
      fullVersion = version;
      grubEfi = if efi == "no" then "" else "${grubEfi}";
      grubTargetEfi = if efi == "no" then "" else "x86_64-efi";
      bootPath = "/boot";
      storePath = "/nix/store";
      bootloaderId = "NixOS${builtins.replaceStrings [ "/" ] [ "-" ] esp}";
      timeout = builtins.fromJSON timeout;
      theme = "";
      efiSysMountPoint = esp;
      devices = [ (if efi == "only" then "nodev" else "/dev/vda") ];
      canTouchEfiVariables = false;
      extraConfig = grubExtraConfig; # NixOS: none
      extraPerEntryConfig = "";
      extraEntries = "";
      forceInstall = false;
      useOSProber = false;
      extraGrubInstallArgs = [ ];
      extraEntriesBeforeNixOS = false;
      extraPrepareConfig = "";
      configurationLimit = 100;
      copyKernels = false;
      default = "0";
      fsIdentifier = "uuid";
      efiSupport = efi != "no";
      efiInstallAsRemovable = efi != "no";
      gfxmodeEfi = "auto";
      gfxmodeBios = "1024x768";
      gfxpayloadEfi = "keep";
      gfxpayloadBios = "text";
      users = { };
      timeoutStyle = "menu";
      path = "${systemPath}/bin";
      font = "";
    };
  } ''printf %s "$text" > $out'';
in
assert bootLoader == "systemd-boot" -> boot != "root";
{
  # The tools of GRUB that a system has among its programs.
  inherit grub;

  fstab =
    "${rootDevice} / auto defaults 0 1\n"
    + (if boot == "xbootldr" then line "BOOT" "/boot" fat else "")
    + (if efi == "no" && boot != "esp" then "" else line "ESP" esp fat);

  # Writes the menu, and installs the boot loader where that is called for; takes a toplevel.
  installBootLoader = builtins.getAttr bootLoader {
    grub = script "install-grub.sh" ./install-grub.sh {
      inherit bash busybox dynamic;
      inherit grubConfig;
      blkid = "${systemPath}/bin/blkid";
    };
    systemd-boot = script "install-systemd-boot.sh" ./install-systemd-boot.sh {
      inherit bash busybox;
      settings = script "systemd-boot-settings.py" ./systemd-boot-settings.py { inherit esp; };
      program = "${named "systemd-boot-efi"}/lib/systemd/boot/efi/systemd-bootx64.efi";
    };
  };
}
