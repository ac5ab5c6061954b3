"""`python -m assembler` is the command `assemble`."""

from assembler.cli.commands import assemble_main

if __name__ == "__main__":
    assemble_main()
