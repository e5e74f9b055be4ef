"""The project keeps its own rules, and the checker sees every kind of violation.

Usage: house_rules_test.py SOURCE_FOLDER CXX_COMPILER [unittest arguments]
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import house_rules

ROOT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[3]
COMPILER = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("CXX", "c++")


class HouseTest(unittest.TestCase):
    def test_the_project_keeps_the_rules(self):
        violations = house_rules.check(ROOT)
        self.assertEqual(violations, [], "\n" + "\n".join(violations))

    def test_the_checker_looks_at_the_project(self):
        self.assertIn("clara/common/error.h", house_rules.torch_free_headers(ROOT))
        self.assertGreater(len(house_rules.sources_of(ROOT)), 10)

    def test_the_table_has_no_circle_and_knows_its_own_words(self):
        self.assertIsNone(house_rules.find_cycle(house_rules.MAY_INCLUDE))
        for folder, others in house_rules.MAY_INCLUDE.items():
            self.assertLessEqual(set(others), set(house_rules.MAY_INCLUDE), folder)

    def test_every_public_header_without_torch_compiles_alone(self):
        for header in house_rules.torch_free_headers(ROOT):
            with self.subTest(header=header):
                result = subprocess.run(
                    [COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}",
                     "-x", "c++", "-"],
                    input=f'#include "{header}"\n#include "{header}"\n', text=True, capture_output=True)
                self.assertEqual(result.returncode, 0, result.stderr)


class CheckerTest(unittest.TestCase):
    """One small house that is in order; each test breaks one thing in it."""

    GOOD = {
        "include/clara/common/error.h": "// Errors.\n#pragma once\n\n#include <string>\n",
        "include/clara/model/lora.h": '// LoRA.\n#pragma once\n\n#include <torch/torch.h>\n\n#include "clara/common/error.h"\n',
        "src/CMakeLists.txt": "foreach(folder common config model metrics)\nadd_subdirectory(${folder})\nendforeach()\n",
        "src/common/CMakeLists.txt": "target_sources(clara_core PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/error.cc)\n",
        "src/common/error.cc": '// Errors.\n#include "clara/common/error.h"\n\n#include <nlohmann/json.hpp>\n',
        "src/common/torch_compat.h": "// Differences.\n#pragma once\n\n#include <torch/torch.h>\n",
        "src/model/CMakeLists.txt": "target_sources(clara_clara PRIVATE\n  lora.cc)\n",
        "src/model/lora.cc": '// LoRA. std::cout, exit(1), printf("x") in words only.\n#include "clara/model/lora.h"\n\n'
                             '#include "common/torch_compat.h"\n\nconst char* kText = "exit(1) std::cerr";\n'
                             "void f(P& p) { p.abort(); p->exit(); snprintf(x); }\n",
        "tests/CMakeLists.txt": "add_subdirectory(unit)\n",
        "tests/unit/CMakeLists.txt": "add_subdirectory(model)\n",
        "tests/unit/model/CMakeLists.txt": "add_clara_test(clara_model_test SOURCES lora_test.cc)\n",
        "tests/unit/model/lora_test.cc": "// Laws of LoRA.\n",
        "tools/CMakeLists.txt": "add_executable(clara-train clara_train.cc)\n",
        "tools/clara_train.cc": '// Training.\n#include <CLI/CLI.hpp>\n#include <csignal>\n#include <iostream>\n'
                                '#include "clara/model/lora.h"\nint main() { std::cout << 1; exit(2); }\n',
    }

    def violations(self, changes=None):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**self.GOOD, **(changes or {})}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return house_rules.check(root)

    def assert_caught(self, changes, *words):
        """Exactly one violation, with these words."""
        violations = self.violations(changes)
        self.assertEqual(len(violations), 1, violations)
        for word in words:
            self.assertIn(word, violations[0])

    def header(self, code):
        """A public header of common with this code."""
        return {"include/clara/common/extra.h": "// Extra.\n#pragma once\n" + code}

    def library(self, code, folder="model"):
        """A registered source of `folder` with this code."""
        return {f"src/{folder}/CMakeLists.txt": self.GOOD.get(f"src/{folder}/CMakeLists.txt", "")
                + "target_sources(clara_clara PRIVATE extra.cc)\n", f"src/{folder}/extra.cc": "// Extra.\n" + code}

    def test_a_house_in_order_passes(self):
        self.assertEqual(self.violations(), [])

    def test_includes_upward(self):
        self.assert_caught(self.library('#include "clara/model/lora.h"\n', "metrics"), "metrics must not include model")
        self.assert_caught(self.library("#include <clara/model/lora.h>\n", "config"), "config must not include model")

    def test_commented_includes_do_not_count(self):
        self.assertEqual(self.violations(self.library('// #include "clara/trainer/x.h"\n/*\n#include <yaml-cpp/yaml.h>\n*/\n')), [])

    def test_circles_between_folders(self):
        found = self.violations({**self.header('#include "clara/model/lora.h"\n')})
        self.assertTrue(any("folders include each other in a circle: common -> model -> common" in v for v in found), found)

    def test_circles_between_files(self):
        self.assert_caught({**self.header('#include "clara/common/other.h"\n'),
                            "include/clara/common/other.h": '// Other.\n#pragma once\n#include "clara/common/extra.h"\n'},
                           "files include each other in a circle")

    def test_missing_and_short_includes(self):
        self.assert_caught(self.library('#include "clara/model/lorra.h"\n'), "src/model/extra.cc:2", "no such file")
        self.assert_caught(self.library('#include "lora.h"\n'), "write the full path")

    def test_private_headers_of_others(self):
        changes = {"src/model/inner.h": "// Inner.\n#pragma once\n",
                   "src/CMakeLists.txt": "foreach(folder common model metrics latents)\n"}
        self.assert_caught({**changes, **self.library('#include "model/inner.h"\n', "latents")}, "private header of model")
        self.assertEqual(self.violations({**changes, **self.library('#include "model/inner.h"\n')}), [])

    def test_outside_libraries_in_the_wrong_place(self):
        for include, words in [("<yaml-cpp/yaml.h>", "YAML"), ("<torch/csrc/distributed/c10d/Store.hpp>", "c10d"),
                               ("<nccl.h>", "NCCL"), ("<curl/curl.h>", "HTTP"), ("<faiss/IndexFlat.h>", "FAISS"),
                               ("<CLI/CLI.hpp>", "command line"), ("<csignal>", "signals"), ("<signal.h>", "signals")]:
            with self.subTest(include=include):
                self.assert_caught(self.library(f"#include {include}\n"), "src/model/extra.cc:2", words)

    def test_public_headers_with_private_libraries(self):
        found = self.violations(self.header("#include <nlohmann/json.hpp>\n"))
        self.assertTrue(any("JSON belongs in .cc files" in v for v in found), found)
        self.assert_caught(self.header("#include <unistd.h>\n"), "standard and torch types only")
        self.assert_caught({"src/model/inner.h": "// Inner.\n#pragma once\n#include <nlohmann/json.hpp>\n"}, "JSON belongs")

    def test_torch_where_none_belongs(self):
        found = self.violations(self.library("#include <ATen/ATen.h>\n", "metrics"))
        self.assertTrue(any("metrics does without LibTorch" in v for v in found), found)
        self.assert_caught({"src/common/error.cc": '// Errors.\n#include "clara/common/error.h"\n#include "common/torch_compat.h"\n'},
                           "clara_core includes LibTorch", "src/common/torch_compat.h")

    def test_printing_and_exiting(self):
        for code in ["#include <iostream>", "void f() { std::cout << 1; }", "void f() { std::cerr << 1; }",
                     "void f() { printf(\"x\"); }", "void f() { std::fprintf(file, \"x\"); }", "void f() { ::exit(1); }",
                     "void f() { std::abort(); }", "void f() { abort (); }", "void f() { std::terminate(); }",
                     "void f() { puts(\"x\"); }", "int n = 100'000; void f() { _exit(n); }"]:
            with self.subTest(code=code):
                self.assert_caught(self.library(code + "\n"), "src/model/extra.cc:2", "the library never")

    def test_openings(self):
        self.assert_caught({"include/clara/common/extra.h": "#pragma once\n"}, "extra.h:1", "comment")
        self.assert_caught({"include/clara/common/extra.h": "// Extra.\n#include <string>\n#pragma once\n"}, "#pragma once")
        self.assert_caught({"include/clara/common/extra.h": "// Extra.\n"}, "#pragma once")
        self.assert_caught({"tests/unit/model/lora_test.cc": "#include <string>\n"}, "lora_test.cc:1", "comment")

    def test_own_header_first(self):
        self.assert_caught({"src/model/lora.cc": '// LoRA.\n#include <string>\n#include "clara/model/lora.h"\n'},
                           "expected clara/model/lora.h as the first include")

    def test_unregistered_files(self):
        self.assert_caught({"tests/unit/model/other_test.cc": "// Other.\n"}, "other_test.cc:1", "never built or run")
        self.assert_caught({"tests/unit/model/CMakeLists.txt": "# lora_test.cc\n"}, "lora_test.cc:1")
        self.assert_caught({"tests/unit/model/CMakeLists.txt": "add_clara_test(x SOURCES my_lora_test.cc)\n"}, "lora_test.cc:1")
        self.assert_caught({"src/model/other.cc": "// Other.\n"}, "src/model/other.cc:1")
        self.assert_caught({"tests/unit/CMakeLists.txt": "\n"}, "tests/unit/model/CMakeLists.txt:1: not added")

    def test_names_that_say_nothing(self):
        self.assert_caught({"src/model/tensor_utils.h": "// Tensors.\n#pragma once\n"}, "tensor_utils.h")
        self.assert_caught({"scripts/helpers/run.sh": "# Runs.\n"}, "helpers")
        self.assert_caught({"src/model/lora_v2.h": "// LoRA.\n#pragma once\n"}, "lora_v2.h")
        self.assert_caught(self.header("class CheckpointManager {};\n"), "CheckpointManager")
        self.assert_caught(self.header("namespace utils {}\n"), "utils")
        self.assertEqual(self.violations({"src/model/renewal.h": "// Renews.\n#pragma once\nclass Knew {};\n"}), [])

    def test_unfinished_code(self):
        for text in ["// TO" + "DO: later", "// FIX" + "ME", "#if " + "0", "  # if " + "0"]:
            with self.subTest(text=text):
                self.assert_caught(self.header(text + "\n"), "extra.h:3", "finish it")

    def test_paths_of_one_machine(self):
        self.assert_caught({"scripts/run.sh": "cd /ro" + "ot/clara\n"}, "run.sh:1", "one machine")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
