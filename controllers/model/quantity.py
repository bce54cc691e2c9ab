"""Quantities as Kubernetes writes them ("500m", "4", "1.5", "2e3", "1Ki")."""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(n|u|m|[kMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?", re.ASCII)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = "KMGTPE"
_MOST: Final = 2**63 - 1
_LONGEST: Final = 64
_MOST_DIGITS: Final = 100


@lru_cache(maxsize=1024)
def nano(text: str) -> int:
    """The quantity in billionths, rounded up and capped like Kubernetes' own; 0 for text that is none."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST:
        return 0
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix.endswith("i"):
        number *= 1024 ** (_BINARY.index(suffix[0]) + 1)
    elif suffix in _DECIMAL:
        number = number.scaleb(_DECIMAL[suffix])
    else:
        # Beyond this everything is capped, or rounded up to one billionth, anyway.
        number = number.scaleb(max(-_MOST_DIGITS, min(int(suffix[1:]), _MOST_DIGITS)))
    capped = min(number, Decimal(_MOST))
    return int(capped.scaleb(9).to_integral_value(ROUND_CEILING))
