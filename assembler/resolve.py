"""What a system decides of a request that its user left open: boot loader and partition table."""

from dataclasses import replace

from assembler.boot.installer import MADE, Installer
from assembler.disk.layout import Table
from assembler.spec import Spec

_EFI_ONLY = ("aarch64-linux",)


def resolve(spec: Spec, architecture: str, installer: Installer) -> Spec:
    """With the boot loader that the system is configured with, and a table that it can boot from.

    What the user asked for stays.
    """
    if spec.boot_loader is None and spec.table is not Table.NONE and installer.loader in MADE:
        spec = replace(spec, boot_loader=installer.loader)
    if spec.table is None and architecture in _EFI_ONLY and spec.loader != "none":
        return replace(spec, table=Table.EFI)
    return spec


def resolution_problems(
    asked: Spec, spec: Spec, architecture: str, installer: Installer
) -> list[str]:
    """Why a system does not go with what the user `asked` for; `spec` is that, resolved."""
    problems = []
    if asked.boot_loader is None and asked.table is not Table.NONE:
        problems += installer.problems
    if architecture in _EFI_ONLY and spec.partition_table.boots_bios:
        problems.append(
            f"--partition-table {spec.partition_table} is for BIOS, which no machine for "
            f"{architecture} has: take efi or efixbootldr"
        )
    return problems + spec.boot_problems()
