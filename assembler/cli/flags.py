"""The flags of the settings that the library's messages name."""

import logging

from assembler.errors import Message, Setting

# Where the flag is not the setting's own name with hyphens.
_FLAGS = {
    "additional_paths": "--additional-path",
    "closures": "--closure",
    "efi_binaries": "--efi-binary",
    "epoch": "SOURCE_DATE_EPOCH",  # which is no flag, but a variable of the environment
    "file_system": "--filesystem",
    "generations": "--generation",
    "partition_guids": "--partition-guid",
    "subvolumes": "--subvolume",
}


def flag(name: str) -> str:
    """The flag that gives a setting its value."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def with_flags(line: str) -> str:
    """A line in which each setting is its flag, followed by the value if there is one."""
    return line.render(_show) if isinstance(line, Message) else line


def record_with_flags(record: logging.LogRecord) -> str:
    """The message of a log record with flags for the settings in it and in its arguments."""
    message = with_flags(record.msg) if isinstance(record.msg, str) else str(record.msg)
    args = record.args
    if isinstance(args, tuple):
        args = tuple(with_flags(one) if isinstance(one, str) else one for one in args)
    return message % args if args else message


def _show(setting: Setting) -> str:
    name = flag(setting.name)
    return name if setting.value is None else f"{name} {setting.value}"
