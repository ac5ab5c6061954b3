"""How much room an image takes on the disks of this host, by its plan."""

from pathlib import Path

from assembler.copying.sharing import can_share
from assembler.filesystems.fat.fat import Fat
from assembler.host.output import STANDARD_OUTPUT
from assembler.host.room import Need, beside_output, temporary
from assembler.plan.plan import Plan
from assembler.tree.tree import Node
from assembler.units import BLOCK, KIB, SECTOR

_HEADERS = KIB  # bytes of a file's header and padding in an archive (GNU tar)
# A system's files take this part at least when they are compressed: xz makes a quarter of them.
_COMPRESSED = 5
_FAT_TABLES = 64  # of a FAT of so many bytes, its tables take one


def image_needs(plan: Plan, beside: Path, scratch: Path) -> list[Need]:
    """The room for the image in the directory `beside`, and for temporary files in `scratch`.

    Holes take no room, nor does data that `beside` can share with the store.
    """
    demand, in_appliance = plan.demand, plan.spec.writes_in_appliance
    fats = sum(map(_used, plan.fats))
    root = demand.blocks * BLOCK + demand.inodes * plan.spec.kind.sizes.inode
    shared = 0 if in_appliance or not can_share(beside, plan.tree) else demand.data
    payload = demand.data + demand.inodes * _HEADERS if in_appliance else 0
    # The check copies FATs and boot files, and the whole image if its sectors are large.
    copies = fats + (root if plan.layout.sector_size != SECTOR else _booted(plan))
    image = root - shared + fats
    if plan.spec.out == STANDARD_OUTPUT:
        return [temporary(scratch, image + max(payload, copies))]
    made = plan.spec.output_format
    converted = 0 if made.in_place else root + fats
    if made.compresses:
        converted //= _COMPRESSED
    return [beside_output(beside, image + converted), temporary(scratch, max(payload, copies))]


def _used(fat: Fat) -> int:
    """Bytes of a FAT that are not a hole."""
    sources = fat.files.values()
    files = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in sources)
    return files + fat.size // _FAT_TABLES


def _booted(plan: Plan) -> int:
    """Bytes of the system's kernel and initrd."""
    if plan.bootspec is None:
        return 0
    paths = [plan.bootspec.kernel, plan.bootspec.initrd]
    nodes = [plan.tree.get(path.encode()) for path in paths if path is not None]
    return sum(node.size for node in nodes if isinstance(node, Node))
