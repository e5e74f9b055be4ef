"""What the pages point to exists: relative links, and files and folders of the project named in `code`.

Usage: links_test.py SOURCE_FOLDER
"""
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
# A path of the project as it stands in text: one of its top folders, then names, no placeholders.
PROJECT_PATH = re.compile(r"^(?:include|src|tools|cmake|configs|scripts|tests|examples|docs|data)(?:/[\w.-]+)+/?$")
# Made or fetched by a command, not kept in the repository.
MADE = ("data/quickstart", "data/paper", "docs/api")


def pages(root):
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md")), root / "data" / "README.md"]


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def faults(root):
    bad = []
    for page in pages(root):
        if not page.is_file():
            bad.append(f"{page.relative_to(root)}: missing")
            continue
        name = page.relative_to(root).as_posix()
        text = page.read_text(encoding="utf-8")
        for match in LINK.finditer(text):
            target, _, fragment = match.group(1).partition("#")
            line = text.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z]+:", target):
                continue
            path = page if not target else page.parent / target
            if not path.exists():
                bad.append(f"{name}:{line}: {target}: no such file")
            elif fragment and fragment not in {anchor(h) for h in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"),
                                                                             re.MULTILINE)}:
                bad.append(f"{name}:{line}: #{fragment}: no such heading in {path.name}")
        for match in CODE.finditer(text):
            word = match.group(1).split(" ")[0].split(":")[0]
            if PROJECT_PATH.match(word) and not word.startswith(MADE) and not (root / word).exists():
                bad.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {word}: no such file or folder")
    return bad


if __name__ == "__main__":
    found = faults(pathlib.Path(sys.argv[1]))
    print("\n".join(found) if found else "every link leads somewhere")
    sys.exit(1 if found else 0)
