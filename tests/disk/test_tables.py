"""Messages list partition tables by what these do.

Without these tests, a message can leave out the partition table that would help the user.
"""

import pytest

from assembler.disk.tables import FOR_BIOS, FOR_BOOT, FOR_EFI, FOR_EFI_ALONE, Table, tables_that


def test_messages_list_tables_by_what_they_do() -> None:
    """A message that leaves a table out would send users away from what they could take."""
    assert FOR_BIOS == "legacy, legacy+boot, legacy+gpt or hybrid"
    assert FOR_EFI == "efi, efixbootldr or hybrid"
    assert FOR_EFI_ALONE == "efi or efixbootldr"
    assert FOR_BOOT == "legacy+boot, efi, efixbootldr or hybrid"
    assert tables_that(lambda table: table is Table.NONE) == "none"
    assert tables_that(lambda table: table.is_mbr, "and") == "legacy and legacy+boot"


@pytest.mark.parametrize("table", Table)
def test_only_a_bare_file_system_has_no_table(table: Table) -> None:
    assert [table.is_mbr, table.is_gpt].count(True) == (table is not Table.NONE)
    assert table.has_partitions == (table is not Table.NONE)
    assert table.slots or table in ("legacy", "none")
    assert table.is_sized == (table.boots_efi or table.has_boot_partition)
