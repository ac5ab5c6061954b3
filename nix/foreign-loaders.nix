# The enabled boot loaders that only their own installers install, which need a virtual machine.
{
  # the configuration of the system
  config,
}:
builtins.filter (one: config.boot.loader.${one}.enable or false) [
  "external"
  "generic-extlinux-compatible"
  "limine"
  "refind"
]
