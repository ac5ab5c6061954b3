"""VMDK that is compressed and read from start to end, for OVA files and for AWS's import."""

from assembler.formats.vmdk import Vmdk


class StreamVmdk(Vmdk):
    """The subformat streamOptimized."""

    name = "vmdk-stream"
    title = "VMDK, stream-optimised"
    options = ("-o", "subformat=streamOptimized")
    compresses = True
    is_stream = True
