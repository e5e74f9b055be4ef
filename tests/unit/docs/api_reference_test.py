"""Doxygen reads the doc comments of every public header without a warning.

Usage: api_reference_test.py SOURCE_FOLDER. Exit code 77 where doxygen is not installed.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main():
    root = pathlib.Path(sys.argv[1])
    program = shutil.which("doxygen")
    if program is None:
        print("skipped: doxygen is not installed: scripts/install_deps.sh --dev")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        settings = f"@INCLUDE = Doxyfile\nOUTPUT_DIRECTORY = {folder}\nHTML_OUTPUT = html\n"
        result = subprocess.run([program, "-"], cwd=root, input=settings, text=True, capture_output=True)
        if result.returncode != 0:
            print(result.stderr)
            return 1
        warnings = [line for line in result.stderr.splitlines() if "warning:" in line]
        if not any((pathlib.Path(folder) / "html").glob("*train__loop*")):
            print("the reference has no page of clara/trainer/train_loop.h")
            return 1
    print("\n".join(warnings + [f"{len(warnings)} warnings"]))
    return 1 if warnings else 0


if __name__ == "__main__":
    sys.exit(main())
