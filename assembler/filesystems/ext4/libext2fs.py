"""The part of libext2fs that the direct writer calls, through cffi without a compiler.

Declarations follow e2fsprogs lib/ext2fs/ext2fs.h and ext2_fs.h, versions 1.47.0 to 1.47.2.
Only two structures are declared: `struct ext2_inode_large`, an on-disk format, and
`struct ext2fs_extent`, an argument of two calls. A new version of the library may change the rest.
"""

from typing import Any

from assembler.errors import HostError
from assembler.host.shared_objects import LIBCOM_ERR, LIBEXT2FS, load_library

_DECLARATIONS = """
typedef struct struct_ext2_filsys *ext2_filsys;
typedef struct struct_io_manager *io_manager;
typedef struct ext2_extent_handle *ext2_extent_handle_t;
typedef long errcode_t;
typedef uint32_t ext2_ino_t;
typedef uint64_t blk64_t;
extern io_manager unix_io_manager;

struct ext2_inode_large {
    uint16_t i_mode, i_uid;
    uint32_t i_size, i_atime, i_ctime, i_mtime, i_dtime;
    uint16_t i_gid, i_links_count;
    uint32_t i_blocks, i_flags, i_version;
    uint8_t i_block[60];
    uint32_t i_generation, i_file_acl, i_size_high, i_faddr;
    uint16_t i_blocks_hi, i_file_acl_high, i_uid_high, i_gid_high, i_checksum_lo, i_reserved;
    uint16_t i_extra_isize, i_checksum_hi;
    uint32_t i_ctime_extra, i_mtime_extra, i_atime_extra, i_crtime, i_crtime_extra;
    uint32_t i_version_hi, i_projid;
};
struct ext2fs_extent { blk64_t e_pblk, e_lblk; uint32_t e_len, e_flags; };

void initialize_ext2_error_table(void);
errcode_t ext2fs_open2(const char *, const char *, int, int, unsigned, io_manager, ext2_filsys *);
errcode_t ext2fs_read_bitmaps(ext2_filsys);
errcode_t ext2fs_close_free(ext2_filsys *);
void ext2fs_free(ext2_filsys);
errcode_t ext2fs_new_range(ext2_filsys, int, blk64_t, blk64_t, void *, blk64_t *, blk64_t *);
void ext2fs_block_alloc_stats_range(ext2_filsys, blk64_t, blk64_t, int);
void ext2fs_inode_alloc_stats2(ext2_filsys, ext2_ino_t, int, int);
errcode_t ext2fs_write_inode_full(ext2_filsys, ext2_ino_t, struct ext2_inode_large *, int);
errcode_t ext2fs_bmap2(ext2_filsys, ext2_ino_t, struct ext2_inode_large *, char *, int, blk64_t,
                       int *, blk64_t *);
errcode_t ext2fs_extent_open2(ext2_filsys, ext2_ino_t, struct ext2_inode_large *,
                              ext2_extent_handle_t *);
errcode_t ext2fs_extent_insert(ext2_extent_handle_t, int, struct ext2fs_extent *);
void ext2fs_extent_free(ext2_extent_handle_t);
errcode_t ext2fs_write_dir_block4(ext2_filsys, blk64_t, void *, int, ext2_ino_t);
errcode_t ext2fs_lookup(ext2_filsys, ext2_ino_t, const char *, int, char *, ext2_ino_t *);
errcode_t ext2fs_xattrs_open(ext2_filsys, ext2_ino_t, struct ext2_xattr_handle **);
errcode_t ext2fs_xattrs_read(struct ext2_xattr_handle *);
errcode_t ext2fs_xattr_set(struct ext2_xattr_handle *, const char *, const void *, size_t);
errcode_t ext2fs_xattrs_close(struct ext2_xattr_handle **);
"""
_ERROR_DECLARATIONS = "const char *error_message(long);"

ROOT_INODE = 2
FIRST_INODE = 11  # the first that is not reserved; mke2fs gives it to lost+found
INODE_LARGE = 160  # bytes of struct ext2_inode_large
EXTRA_ISIZE = 32  # bytes of it beyond the classic 128
EXTENTS_FLAG = 0x80000  # EXT4_EXTENTS_FL
INSERT_AFTER = 1  # EXT2_EXTENT_INSERT_AFTER
READ_FLAGS = 0x20000  # EXT2_FLAG_64BITS
OPEN_FLAGS = 0x1 | READ_FLAGS  # EXT2_FLAG_RW


def load() -> tuple[Any, Any, Any]:
    """Open libext2fs and libcom_err: cffi's FFI for the first, then both libraries.

    Raises HostError where they are not installed.
    """
    ffi, library = load_library(LIBEXT2FS, _DECLARATIONS)
    _, errors = load_library(LIBCOM_ERR, _ERROR_DECLARATIONS)
    library.initialize_ext2_error_table()  # else its errors are numbers
    return ffi, library, errors


def problems() -> list[str]:
    """One line if the libraries cannot be loaded."""
    try:
        load()
    except HostError as error:
        return [*error.lines]
    return []
