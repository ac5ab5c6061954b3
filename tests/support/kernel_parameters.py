"""Kernel parameters with what GRUB's shell acts on, and what the kernel is given."""

# As in boot.kernelParams → as in /proc/cmdline when NixOS's own menu pastes it, or, where that
# menu would not be what it should be, as the word itself. GRUB writes a backslash before quotes
# and backslashes, and quotes around an argument with a space (grub-core/lib/cmdline.c).
BY_GRUB = {
    # Pasted as they are.
    r"t.dollar=4M\$0x8000000": "t.dollar=4M$0x8000000",
    "t.variable=a$nothing-b${nothing}c$9": "t.variable=a-bc",
    "t.quoted-dollar='$x'": "t.quoted-dollar=$x",
    't.double="two words"': '"t.double=two words"',
    "'t.single=two words'": '"t.single=two words"',
    't.inner="it\'s; all | one"': r'"t.inner=it\'s; all | one"',
    r"t.escaped-quote=\"a\"": r"t.escaped-quote=\"a\"",
    r"t.escaped=a\;b\|c\&d\<e\>f\{g\}h\#i\*j\!k": "t.escaped=a;b|c&d<e>f{g}h#i*j!k",
    r"t.backslash=a\\b\nc": r"t.backslash=a\\bnc",
    r"t.space=a\ b": '"t.space=a b"',
    't.empty=""': "t.empty=",
    "t.plain=(a)[b]*?!~^`@%+:#,x": "t.plain=(a)[b]*?!~^`@%+:#,x",
    "t.words=if then done [ ] time": "t.words=if then done [ ] time",
    "t.unicode=ünï→": "t.unicode=ünï→",
    # Quoted, as NixOS's menu would break on them.
    "t.semicolon=a;b": "t.semicolon=a;b",
    "t.pipe=a|b||c": "t.pipe=a|b||c",
    "t.ampersand=a&b&&c": "t.ampersand=a&b&&c",
    "t.angles=<a>": "t.angles=<a>",
    "t.braces={a}": "t.braces={a}",
    "t.lone-dollar=a$": "t.lone-dollar=a$",
    "t.unclosed=${a": "t.unclosed=${a",
    "t.both=$x;y": "t.both=$x;y",
    't.kept="a;b" c;d': "t.kept=a;b c;d",
    't.spaces="a b";c': '"t.spaces=a b;c"',
    "#t.comment": "#t.comment",
    "[[": "[[",
    "]]": "]]",
    "}": "}",
    "t.apostrophe=a'b": r"t.apostrophe=a\'b",
    r"t.mixed=\"a\";b\ c": r'"t.mixed=\\\"a\\\";b\\ c"',
    't.inch=5"': r"t.inch=5\"",
    "t.last=\\": r"t.last=\\",
}
