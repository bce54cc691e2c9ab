"""`sliceplane`, and `python -m controllers`."""

import sys

from controllers.starting import ends_quietly, importing


def main() -> None:
    """The command line, from the first import on. What runs until it is told to stop may be told so before it runs."""
    given = sys.argv[1:]
    ends_quietly(until_stopped=given[:1] == ["run"] or given[:2] == ["ipam", "run"])
    with importing():
        from controllers import cli
    cli.main(prog_name="sliceplane")


if __name__ == "__main__":
    main()
