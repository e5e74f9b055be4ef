"""The rules of the house as code: who may include whom, what library code must not do, how files open, what is registered.

check(root) returns a list of violations, "path:line: what is wrong and what to do instead". Standard library only.
"""
import pathlib
import re

# folder -> folders of this project that it may include besides itself. Never upward, never in a circle.
MAY_INCLUDE = {
    "common": [],
    "metrics": [],
    "config": ["common"],
    "tokenizer": ["common"],
    "parallel": ["config", "common"],
    "data": ["tokenizer", "config", "common"],
    "benchmarks": ["data", "config", "common"],
    "synthesis": ["data", "config", "common"],
    "retrieval": ["data", "tokenizer", "parallel", "config", "common"],
    "model": ["config", "common"],
    "latents": ["model", "data", "parallel", "config", "common"],
    "objectives": ["latents", "model", "data", "metrics", "config", "common"],
    "checkpoint": ["model", "tokenizer", "parallel", "config", "common"],
    "trainer": ["objectives", "latents", "model", "data", "metrics", "checkpoint", "parallel", "config", "common"],
    "eval": ["model", "latents", "data", "benchmarks", "retrieval", "metrics", "tokenizer", "checkpoint", "parallel",
             "config", "common"],
    "analysis": ["eval", "model", "latents", "data", "benchmarks", "retrieval", "metrics", "tokenizer", "checkpoint",
                 "parallel", "config", "common"],
}
# Folders without LibTorch, whatever target they are in.
TORCH_FREE = {"config", "tokenizer", "data", "metrics", "benchmarks", "synthesis"}

# An outside library and the only place (path prefixes) that may include it.
OUTSIDE = [
    (re.compile(r"yaml-cpp/"), ("src/config/",), "YAML belongs to src/config"),
    (re.compile(r"(torch/csrc/distributed|c10d|gloo)/|nccl\.h"), ("src/parallel/",), "c10d and NCCL belong to src/parallel"),
    (re.compile(r"curl/"), ("src/synthesis/",), "HTTP belongs to src/synthesis"),
    (re.compile(r"faiss/"), ("src/retrieval/",), "FAISS belongs to src/retrieval"),
    (re.compile(r"sentencepiece"), ("src/tokenizer/",), "SentencePiece belongs to src/tokenizer"),
    (re.compile(r"CLI/"), ("tools/",), "the command line belongs to tools"),
    (re.compile(r"csignal$|signal\.h$"), ("tools/",), "signals belong to tools"),
]
JSON = re.compile(r"(nlohmann|simdjson)")
TORCH = re.compile(r"(torch|ATen|c10|caffe2)/")
STANDARD = re.compile(r"[a-z_0-9]+$")

# What library code must not do; tools may.
LIBRARY_CODE = [
    (re.compile(r"#\s*include\s*<iostream>"), "<iostream>: the library never prints"),
    (re.compile(r"\bstd::(cout|cerr|clog)\b|(?<![\w.>])(stdout|stderr)\b"), "a standard stream: the library never prints"),
    (re.compile(r"(?<![\w.>:])(?:std::|::)?(?:v?f?printf|f?puts|putchar|perror)\s*\("), "the library never prints"),
    (re.compile(r"(?<![\w.>:])(?:std::|::)?(?:_?exit|_Exit|quick_exit|abort|terminate)\s*\("),
     "the library never exits: throw an error of clara/common/error.h"),
]

CODE_FOLDERS = ("include", "src", "tools", "tests", "bench", "examples")
TEXT_FOLDERS = CODE_FOLDERS + ("cmake", "scripts", "configs")
BAD_NAME = re.compile(r"(?:^|_)(?:utils?|helpers?|managers?|new|v2|misc)(?:_|$)")
BAD_TYPE = re.compile(r"\b(?:class|struct|namespace|enum(?:\s+class)?)\s+(\w*(?:Utils?|Helpers?|Managers?|V2)|utils?|helpers?)\b")
# The brackets keep these lines from matching themselves.
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b|^\s*#\s*if\s+[0]\b", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.})*])/(?:r[o]ot|h[o]me|w[o]rk)/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^\s()\\]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.[^\'\n]*|[^\'\\\n])\'',
                   re.DOTALL)


def blank(text, strings=True):
    """`text` without comments (and string literals), every line where it was."""
    def replace(match):
        token = match.group()
        if not strings and not token.startswith(("//", "/*")):
            return token
        return "".join(c if c == "\n" else " " for c in token)
    return TOKEN.sub(replace, text)


class Source:
    """One C++ file: text, includes with lines, and the folder it belongs to."""

    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        uncommented = blank(self.text, strings=False)
        self.includes = [(line_of(uncommented, m.start()), m.group(1), m.group(2)) for m in INCLUDE.finditer(uncommented)]
        parts = self.path.split("/")
        self.folder = {"include": parts[2] if len(parts) > 3 else "", "src": parts[1] if len(parts) > 2 else ""}.get(
            parts[0], parts[0])
        self.is_library = parts[0] in ("include", "src")


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def files(root, folders, suffixes):
    found = []
    for folder in folders:
        found += [p for p in sorted((root / folder).rglob("*")) if p.is_file() and p.suffix in suffixes]
    return found


def project_folder(kind, target):
    """(folder, is private) of an include of this project; None for anything else."""
    parts = target.split("/")
    if parts[0] == "clara" and len(parts) > 1:
        return parts[1] if len(parts) > 2 else "", False
    if kind == '"' and parts[0] in MAY_INCLUDE and len(parts) > 1:
        return parts[0], True
    return None


def resolve(root, kind, target):
    """Path of an included file of this project relative to root; None for anything else."""
    found = project_folder(kind, target)
    if found is None:
        return None
    return ("src/" if found[1] else "include/") + target


def check_includes(root, sources):
    bad = []
    for source in sources:
        public = source.path.startswith("include/")
        for line, kind, target in source.includes:
            place = f"{source.path}:{line}: "
            found = project_folder(kind, target)
            if found is not None:
                folder, private = found
                if not (root / resolve(root, kind, target)).is_file():
                    bad.append(f"{place}{target}: no such file in the project")
                elif source.folder == "tools":
                    pass
                elif folder != source.folder and folder not in MAY_INCLUDE.get(source.folder, []):
                    bad.append(f"{place}{source.folder} must not include {folder} ({target}); it may include "
                               f"{', '.join(MAY_INCLUDE.get(source.folder, [])) or 'nothing of the project'}")
                elif private and folder not in (source.folder, "common"):
                    bad.append(f"{place}{target} is a private header of {folder}")
                elif private and public:
                    bad.append(f"{place}{target} is private: a public header must not include it")
                continue
            if kind == '"' and "/" not in target:
                bad.append(f'{place}"{target}": write the full path')
            for pattern, homes, why in OUTSIDE:
                if pattern.match(target) and not source.path.startswith(homes):
                    bad.append(f"{place}{target}: {why}")
            if JSON.match(target) and source.is_library and not source.path.endswith(".cc"):
                bad.append(f"{place}{target}: JSON belongs in .cc files")
            if TORCH.match(target) and source.folder in TORCH_FREE and source.is_library:
                bad.append(f"{place}{target}: {source.folder} does without LibTorch")
            if source.folder == "metrics" and source.is_library and not STANDARD.match(target):
                bad.append(f"{place}{target}: metrics needs the standard library only")
            if public and not STANDARD.match(target) and not TORCH.match(target):
                bad.append(f"{place}{target}: a public header shows standard and torch types only")
    return bad


def find_cycle(graph):
    """One cycle [a, b, …, a] of {node: nodes}, or None."""
    done, stack = set(), []

    def visit(node):
        if node in stack:
            return stack[stack.index(node):] + [node]
        if node in done:
            return None
        stack.append(node)
        for after in sorted(graph.get(node, ())):
            cycle = visit(after)
            if cycle:
                return cycle
        stack.pop()
        done.add(node)
        return None

    for start in sorted(graph):
        cycle = visit(start)
        if cycle:
            return cycle
    return None


def file_graph(root, sources):
    return {s.path: {p for _, kind, target in s.includes if (p := resolve(root, kind, target))} for s in sources}


def check_cycles(root, sources):
    folders = {}
    for source in sources:
        if source.is_library:
            reached = {f[0] for _, kind, target in source.includes if (f := project_folder(kind, target))}
            folders.setdefault(source.folder, set()).update(reached - {source.folder})
    bad = []
    for what, graph in (("folders", folders), ("files", file_graph(root, sources))):
        cycle = find_cycle(graph)
        if cycle:
            bad.append(f"{what} include each other in a circle: {' -> '.join(cycle)}")
    return bad


def torch_path(graph, outside, start):
    """[start, …, file] if `start` includes LibTorch in the end, else None."""
    seen, todo = {start}, [[start]]
    while todo:
        path = todo.pop()
        if outside.get(path[-1]):
            return path
        for after in sorted(graph.get(path[-1], set()) - seen):
            seen.add(after)
            todo.append(path + [after])
    return None


def torch_reach(root, sources):
    """path -> chain of files by which it includes LibTorch; only those that do."""
    graph = file_graph(root, sources)
    outside = {s.path: any(TORCH.match(t) for _, _, t in s.includes) for s in sources}
    reach = {s.path: torch_path(graph, outside, s.path) for s in sources}
    return {path: chain for path, chain in reach.items() if chain}


def cmake_text(path):
    return re.sub(r"#[^\n]*", "", path.read_text(encoding="utf-8")) if path.is_file() else ""


def is_listed(name, text):
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) is not None


def check_core(root, sources):
    """The sources of clara_core reach no LibTorch header."""
    reach = torch_reach(root, sources)
    bad = []
    for source in sources:
        if not source.path.startswith("src/") or not source.path.endswith(".cc"):
            continue
        text = cmake_text(root / "src" / source.folder / "CMakeLists.txt")
        core = "".join(re.findall(r"target_sources\(\s*clara_core\b([^)]*)\)", text))
        name = source.path.split("/", 2)[2]
        if is_listed(name, core) and source.path in reach:
            bad.append(f"{source.path}:1: a source of clara_core includes LibTorch: {' -> '.join(reach[source.path])}")
    return bad


def check_code(sources):
    bad = []
    for source in sources:
        if not source.is_library:
            continue
        text = blank(source.text)
        for pattern, why in LIBRARY_CODE:
            bad += [f"{source.path}:{line_of(text, m.start())}: {m.group().strip()}: {why}" for m in pattern.finditer(text)]
    return bad


def check_openings(root):
    bad = []
    for path in files(root, CODE_FOLDERS, {".h", ".cc"}):
        name = path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").split("\n")
        if not lines[0].startswith("//"):
            bad.append(f"{name}:1: expected one to three lines of comment that say what the file does")
        if path.suffix == ".h":
            code = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("//")), None)
            if code is None or lines[code].strip() != "#pragma once":
                bad.append(f"{name}:{(code or 0) + 1}: expected #pragma once after the opening comment")
    return bad


def check_first_include(root, sources):
    """src/X/y.cc includes clara/X/y.h first: so that header is compiled alone."""
    bad = []
    for source in sources:
        if not source.path.startswith("src/") or not source.path.endswith(".cc") or not source.includes:
            continue
        header = "clara/" + source.path[len("src/"):-len(".cc")] + ".h"
        if (root / "include" / header).is_file() and source.includes[0][2] != header:
            bad.append(f"{source.path}:{source.includes[0][0]}: expected {header} as the first include")
    return bad


def check_registration(root):
    bad = []
    for path in files(root, ("src", "tests", "tools"), {".cc", ".py"}):
        name = path.relative_to(root).as_posix()
        is_test = name.startswith("tests/") and path.stem.endswith("_test")
        if not is_test and not (name.startswith(("src/", "tools/")) and path.suffix == ".cc"):
            continue
        folder = path.parent
        while not (folder / "CMakeLists.txt").is_file() and folder != root:
            folder = folder.parent
        if not is_listed(path.relative_to(folder).as_posix(), cmake_text(folder / "CMakeLists.txt")):
            bad.append(f"{name}:1: not in {(folder / 'CMakeLists.txt').relative_to(root).as_posix()}: it is never built or run")
    for path in files(root, ("src", "tests"), {".txt"}):
        if path.name != "CMakeLists.txt" or path.parent in (root / "src", root / "tests"):
            continue
        above = path.parent.parent
        name = path.parent.relative_to(root).as_posix()
        # A project of its own (tests/install) is configured by a test, not added.
        if re.search(r"^\s*project\s*\(", cmake_text(path), re.MULTILINE):
            continue
        if not is_listed(path.parent.name, cmake_text(above / "CMakeLists.txt")):
            bad.append(f"{name}/CMakeLists.txt:1: not added by {above.relative_to(root).as_posix()}/CMakeLists.txt")
    return bad


def check_names(root):
    bad = []
    for path in files(root, TEXT_FOLDERS, {".h", ".cc", ".py", ".sh", ".cmake", ".yaml"}):
        name = path.relative_to(root).as_posix()
        bad += [f"{name}:1: {part}: a name that says nothing (utils, helpers, manager, new, v2)"
                for part in name.split("/") if BAD_NAME.search(part.split(".")[0])]
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".h", ".cc"):
            code = blank(text)
            bad += [f"{name}:{line_of(code, m.start())}: {m.group(1)}: a name that says nothing" for m in BAD_TYPE.finditer(code)]
        bad += [f"{name}:{line_of(text, m.start())}: {m.group().strip()}: finish it or take it out"
                for m in UNFINISHED.finditer(text)]
        bad += [f"{name}:{line_of(text, m.start())}: {m.group()}: a path of one machine" for m in MACHINE_PATH.finditer(text)]
    return bad


def sources_of(root):
    return [Source(root, path) for path in files(root, ("include", "src", "tools"), {".h", ".cc"})]


def torch_free_headers(root):
    """Public headers that include no LibTorch in the end, relative to include/."""
    sources = sources_of(root)
    reach = torch_reach(root, sources)
    return [s.path[len("include/"):] for s in sources if s.path.startswith("include/") and s.path not in reach]


def check(root):
    root = pathlib.Path(root)
    sources = sources_of(root)
    return (check_includes(root, sources) + check_cycles(root, sources) + check_core(root, sources) + check_code(sources)
            + check_openings(root) + check_first_include(root, sources) + check_registration(root) + check_names(root))
