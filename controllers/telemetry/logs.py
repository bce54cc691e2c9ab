"""Log lines: a message that never changes, and its values beside it; as text like Kubernetes' own, or as JSON."""

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_LETTERS: Final = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


class Bound(logging.LoggerAdapter[logging.Logger]):
    """A logger whose methods take values as keywords; those bound to it come with every line."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        exc_info = kwargs.pop("exc_info", None)
        values = {**(self.extra or {}), **kwargs}
        return msg, {"extra": {"values": values}, "exc_info": exc_info}


def bind(name: str, **values: object) -> Bound:
    """The logger of a module; `values` come with every line."""
    return Bound(logging.getLogger(name), values)


class TextFormatter(logging.Formatter):
    """`I1124 21:16:00.123456 endpointslice] "slices written" service="shop/cart" create=1`, as klog does."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        head = f"{_LETTERS.get(record.levelname, 'I')}{at:%m%d %H:%M:%S.%f} {record.name.rpartition('.')[2]}]"
        values = "".join(f" {key}={_quoted(value)}" for key, value in getattr(record, "values", {}).items())
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{head} {_quoted(record.getMessage())}{values}{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with Kubernetes' keys: ts (ms since 1970), level, logger, msg, and the values."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": round(record.created * 1000, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **getattr(record, "values", {}),
        }
        if record.exc_info:
            line["err"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def _quoted(value: object) -> str:
    if isinstance(value, (int, float)):
        return str(value)
    return msgspec.json.encode(str(value)).decode()


def configure(*, json: bool, verbosity: int) -> None:
    """Sends all log lines to standard error; verbosity 4 and above shows debugging lines, as in Kubernetes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("controllers").setLevel(logging.DEBUG if verbosity >= 4 else logging.INFO)
