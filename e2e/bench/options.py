"""What the flags of benchmarks may be: nothing can be measured with none of anything."""

from typing import Final

import click

COUNT: Final = click.IntRange(1)
# Seconds, or changes a second.
POSITIVE: Final = click.FloatRange(0, min_open=True)
