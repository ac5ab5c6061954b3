"""Text that is safe to print on a terminal."""


def printable(text: str) -> str:
    """A line without characters that control the terminal.

    Control characters, line ends, characters that change the direction of text, and bytes that
    were no UTF-8 come out as Python writes them in a string, such as `\\x1b`.
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    if "\udc80" <= one <= "\udcff":  # a byte, by surrogateescape
        return f"\\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode()
