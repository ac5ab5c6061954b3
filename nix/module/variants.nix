# The image variants, by the names that they have in nixpkgs, and two more: hetzner and libvirt.
#
# target: what the command gets, unless image.assemble has another one
# base: the module of a variant that nixpkgs has not
# honoured: options of nixpkgs' modules that become the default of an option of image.assemble
# ignored: options of nixpkgs' modules without a meaning here; a warning names those that are set
let
  plain = {
    honoured.format = [
      "image"
      "format"
    ];
  };
  # An option of one of nixpkgs' image modules.
  virtualisation = name: option: [
    "virtualisation"
    name
    option
  ];
in
{
  amazon = {
    target = "amazon";
    honoured = {
      contents = [
        "amazonImage"
        "contents"
      ];
      format = [
        "amazonImage"
        "format"
      ];
    };
  };
  azure = {
    target = "azure";
    honoured = {
      contents = virtualisation "azureImage" "contents";
      label = virtualisation "azureImage" "label";
      bootSize = virtualisation "azureImage" "bootSize";
      additionalSpace = virtualisation "azureImage" "additionalSpace";
    };
  };
  digital-ocean = {
    target = "digital-ocean";
    honoured.configFile = virtualisation "digitalOceanImage" "configFile";
    ignored = [ (virtualisation "digitalOceanImage" "compressionMethod") ];
  };
  google-compute = {
    target = "google-compute";
    honoured = {
      contents = virtualisation "googleComputeImage" "contents";
      configFile = virtualisation "googleComputeImage" "configFile";
    };
    ignored = [
      (virtualisation "googleComputeImage" "compressionLevel")
      (virtualisation "googleComputeImage" "buildMemSize")
    ];
  };
  hetzner = {
    target = "hetzner";
    base = ./machine.nix;
  };
  hyperv = {
    target = "hyperv";
    ignored = [
      [
        "hyperv"
        "vmDerivationName"
      ]
    ];
  };
  kubevirt.target = "kubevirt";
  libvirt = {
    target = "libvirt";
    base = ./machine.nix;
  };
  linode = {
    target = "linode";
    honoured.configFile = virtualisation "linodeImage" "configFile";
    ignored = [ (virtualisation "linodeImage" "compressionLevel") ];
  };
  oci.target = "oci";
  openstack.target = "openstack";
  proxmox = {
    target = "proxmox";
    honoured = {
      additionalSpace = [
        "proxmox"
        "qemuConf"
        "additionalSpace"
      ];
      bootSize = [
        "proxmox"
        "qemuConf"
        "bootSize"
      ];
      partitionTable = [
        "proxmox"
        "partitionTableType"
      ];
    };
    # The machine's settings, which are those of the format vma.
    ignored =
      map
        (option: [
          "proxmox"
          "qemuConf"
          option
        ])
        [
          "agent"
          "boot"
          "cores"
          "memory"
          "name"
          "net0"
          "ostype"
          "scsihw"
          "serial0"
          "virtio0"
        ]
      ++ [
        [
          "proxmox"
          "qemuExtraConf"
        ]
      ];
  };
  qemu = plain;
  qemu-efi = plain;
  raw = plain;
  raw-efi = plain;
  virtualbox = {
    target = "virtualbox";
    honoured = {
      additionalSpace = [
        "virtualbox"
        "baseImageFreeSpace"
      ];
    };
    # The machine's settings, which are those of the format ova.
    ignored = map (option: [
      "virtualbox"
      option
    ]) [
      "exportParams"
      "extraDisk"
      "memorySize"
      "params"
      "postExportCommands"
      "storageController"
      "vmDerivationName"
      "vmName"
    ];
  };
  vmware = {
    target = "vmware";
    ignored = map (option: [
      "vmware"
      option
    ]) [
      "vmCompat6"
      "vmDerivationName"
      "vmSubformat"
    ];
  };
}
