"""Every C++ file of the project is as clang-format writes it (.clang-format).

Usage: format_test.py SOURCE_FOLDER. Exit code 77 where the clang-format of the project's style is not installed.
"""
import pathlib
import re
import shutil
import subprocess
import sys

# Other versions break some lines elsewhere; this is the one of Debian 12.
VERSION = "14"
FOLDERS = ("include", "src", "tools", "tests", "bench", "examples", "cmake")


def find_clang_format():
    """(program, None) or (None, why not)."""
    found = []
    for name in (f"clang-format-{VERSION}", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        printed = subprocess.run([program, "--version"], text=True, capture_output=True).stdout
        major = re.search(r"version (\d+)", printed)
        if major and major.group(1) == VERSION:
            return program, None
        found.append(printed.strip())
    return None, f"clang-format {VERSION} is not installed ({', '.join(found) or 'none is'}): scripts/install_deps.sh --dev"


def main():
    root = pathlib.Path(sys.argv[1])
    program, reason = find_clang_format()
    if program is None:
        print("skipped:", reason)
        return 77
    files = [p for folder in FOLDERS for p in sorted((root / folder).rglob("*")) if p.suffix in (".h", ".cc")]
    if not files:
        print(f"no C++ files were found under {root}")
        return 1
    wrong = [p.relative_to(root).as_posix() for p in files if subprocess.run(
        [program, "--dry-run", "-Werror", f"--style=file:{root / '.clang-format'}", p], capture_output=True).returncode != 0]
    for path in wrong:
        print(f"{path}: not formatted; run clang-format -i {path}")
    print(f"{len(files)} files, {len(wrong)} not formatted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
