"""Log lines for people, `key=value`, or for machines, one JSON object a line."""

import json
import logging
import sys
from datetime import UTC, datetime


class _TextFormatter(logging.Formatter):
    """`2026-01-05T09:00:00.000Z WARNING egress lane=… suspended`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("relay.")
        line = f"{_time(record)} {record.levelname} {name} {_one_line(record.getMessage())}"
        if record.exc_info:
            line += "\n" + _indented(self.formatException(record.exc_info))
        return line


class _JsonFormatter(logging.Formatter):
    """The same facts by name, those of the record (`facts`) among them; a traceback under `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False)


def configure_logging(style: str, level: str) -> None:
    """Everything of this level and above to standard error. style: `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # aiosmtpd tells every connection at info.
    logging.getLogger("mail.log").setLevel(logging.ERROR)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """What strangers said must not look like a line of ours."""
    return "".join(char if char.isprintable() else " " for char in text)


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())
