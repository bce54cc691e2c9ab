"""`python -m controllers` is `sliceplane`."""

from controllers.cli import main

main(prog_name="sliceplane")
