"""What Linux itself bounds, on every kind of file system.

`filesystems.limits` has what a kind of file system bounds more tightly.
"""

XATTR_NAME_MAX = 255  # bytes: include/uapi/linux/limits.h
XATTR_SIZE_MAX = 65536  # bytes of a value: include/uapi/linux/limits.h
MAX_SYMLINK = 4095  # bytes of a target: PATH_MAX in include/uapi/linux/limits.h, without its NUL
MAX_FILE = (1 << 63) - 1  # bytes of a file or disk: MAX_LFS_FILESIZE in include/linux/fs.h
MAX_TIME = (1 << 63) - 1  # seconds since 1970: TIME64_MAX in include/linux/time64.h
MAX_NAMES = (1 << 32) - 1  # hard links of a file: s_max_links in include/linux/fs.h has 32 bits
