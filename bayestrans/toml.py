"""TOML files that people write: errors that say which file, which key, and what to do."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def read_toml[T](
    path: Path, kind: str, build: Callable[[dict[str, Any]], T], error: type[Exception]
) -> T:
    """Return what ``build`` makes of a file; everything that goes wrong is an ``error``.

    ``kind`` is what such a file is called.
    """
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except FileNotFoundError:
        raise error(f"{kind} {path} does not exist; give the path of a TOML file") from None
    except OSError as caught:
        raise error(f"{kind} {path} cannot be read: {caught.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as caught:
        raise error(f"{kind} {path} is not valid TOML: {caught}") from None
    try:
        return build(content)
    except error as caught:
        raise error(f"{kind} {path}: {caught}") from None


def check_keys(
    where: str, table: Mapping[str, Any], allowed: tuple[str, ...], error: type[Exception]
) -> None:
    """Refuse keys that mean nothing here."""
    for key in table:
        if key not in allowed:
            raise error(
                f"{where} has an unknown key {key!r}{nearest(key, allowed)}; "
                f"known keys: {', '.join(allowed)}"
            )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a question about the known word that is most like it, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
