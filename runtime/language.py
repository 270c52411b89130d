"""The language of who reads a terminal."""

import os
from collections.abc import Mapping


def speaks_chinese(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the locale says Chinese; else it is English."""
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return locale.startswith("zh")
