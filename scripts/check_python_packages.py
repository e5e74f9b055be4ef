#!/usr/bin/env python3
"""Prints, one a line, the pins of a requirements file that this Python environment does not hold.

A package counts as installed when its version is the pinned one and every file that its wheel
brought is there with the recorded size, so that an installation that was cut short is found.
Exit codes: 0 nothing missing, 1 something is, 2 usage.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


def read_pins(path: Path) -> list[str]:
    lines = (
        line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines()
    )
    return [line for line in lines if line]


def is_whole(pin: str) -> bool:
    name, _, version = pin.partition("==")
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    # pip writes the list of files last; without it the installation did not finish.
    if package.version != version or not package.files:
        return False
    for file in package.files:
        if file.suffix == ".pyc":
            continue
        try:
            found = Path(package.locate_file(file)).stat().st_size
        except OSError:
            return False
        if file.size is not None and found != file.size:
            return False
    return True


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: check_python_packages.py REQUIREMENTS", file=sys.stderr)
        return 2
    missing = [pin for pin in read_pins(Path(sys.argv[1])) if not is_whole(pin)]
    print("\n".join(missing), end="\n" if missing else "")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
