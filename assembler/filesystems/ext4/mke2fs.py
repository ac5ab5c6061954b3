"""Make an empty ext4 inside an image file with mke2fs, the same bytes every time."""

import shlex
from pathlib import Path
from uuid import UUID

from assembler.filesystems.ext4.size import inode_count, journal_blocks
from assembler.filesystems.protocol import RootFileSystem
from assembler.host import process
from assembler.host.scratch import scratch_directory
from assembler.units import BLOCK, KIB, MIB

# The features that GRUB 2.06 reads and every kernel since 4.x writes. They are named one by one,
# because newer releases of mke2fs turn on more (orphan_file, metadata_csum_seed).
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)

# Instead of the host's /etc/mke2fs.conf. An empty list of features is an error: hence `none`.
_CONFIG = """\
[defaults]
	base_features = none
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
[fs_types]
	ext4 = {
		features = none
	}
"""


def options(
    *, size: int, inodes: int, label: str, uuid: UUID, hash_seed: UUID, offset: int = 0
) -> list[str]:
    """The options of mke2fs for an ext4 of `size` bytes; see `make_ext4` for the arguments."""
    extended = (
        f"offset={offset},lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0,"
        f"hash_seed={hash_seed}"
    )
    return [
        *("-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-I", "256"),
        *("-O", _FEATURES, "-m", "0", "-N", str(inode_count(inodes))),
        *("-J", f"size={journal_blocks(size // BLOCK) * BLOCK // MIB}"),
        *("-L", label, "-U", str(uuid), "-o", "Linux", "-E", extended),
    ]


def make_ext4(
    image: Path,
    *,
    offset: int,
    size: int,
    inodes: int,
    label: str,
    uuid: UUID,
    hash_seed: UUID,
    epoch: int,
) -> None:
    """Make an ext4 of `size` bytes at `offset` bytes in `image`, a file that is long enough.

    That part of the file must read as zeros. `inodes` are free afterwards; `size.py` computes how
    many blocks are. `epoch` is in seconds. Raises HostError.
    """
    arguments = options(
        size=size, inodes=inodes, label=label, uuid=uuid, hash_seed=hash_seed, offset=offset
    )
    with scratch_directory() as scratch:
        config = Path(scratch) / "mke2fs.conf"
        config.write_text(_CONFIG)
        process.run(
            ["mke2fs", *arguments, image, f"{size // KIB}k"],
            what="making an ext4 file system",
            # mke2fs takes 0 as "the real time".
            env={"MKE2FS_CONFIG": str(config), "E2FSPROGS_FAKE_TIME": str(max(1, epoch))},
        )


def shell_command(target: RootFileSystem, device: str) -> list[str]:
    """The command that makes an ext4 on a device, as `make_ext4` makes it in a file."""
    arguments = options(
        size=target.size,
        inodes=target.inodes,
        label=target.label,
        uuid=target.uuid,
        hash_seed=target.hash_seed,
    )
    time = f"E2FSPROGS_FAKE_TIME={max(1, target.epoch)}"
    return [f"{time} mke2fs {shlex.join(arguments)} {device} {target.size // KIB}k"]
