#!/usr/bin/env python3
"""scripts/skipped_tests.awk on what ctest itself writes: skipped_tests_test.py CMAKE CTEST"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/skipped_tests.awk"
PROJECT = r"""
cmake_minimum_required(VERSION 3.25)
project(skips NONE)
enable_testing()
function(add name text code)
  add_test(NAME "${name}" COMMAND sh -c "printf '${text}'; exit ${code}")
  set_tests_properties("${name}" PROPERTIES SKIP_RETURN_CODE 77)
endfunction()
add(passes "skipped: said by a test that passed\\n" 0)
add(fails "skipped: said by a test that failed\\n" 1)
add(docs.format_test "first line\\nskipped: clang-format 14 is not installed (none is)\\n" 77)
add(a.test_with_a_name_so_long_that_ctest_leaves_no_room_for_dots_behind_it_and_even_more "skipped: no tokenizers\\n" 77)
add(silent "" 77)
foreach(number 1 2)
  add_test(NAME "Suite.Case/${number}  # GetParam() = ${number}"
    COMMAND sh -c "printf 'a_test.cc:3: Skipped\\nthe model is not there\\n[  SKIPPED ] Suite.Case (0 ms)\\n'")
  set_tests_properties("Suite.Case/${number}  # GetParam() = ${number}" PROPERTIES SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endforeach()
add(of_python "test_a (x.Case) ... ok\\ntest_b (x.Case)\\nWhat it shows. ... skipped \"no browser here\"\\n" 0)
"""
EXPECTED = [
    "  docs.format_test: clang-format 14 is not installed (none is)",
    "  a.test_with_a_name_so_long_that_ctest_leaves_no_room_for_dots_behind_it_and_even_more: no tokenizers",
    "  silent: skipped, no reason was printed",
    "  1: no browser here",
    "  2: the model is not there",
]
cmake, ctest = "cmake", "ctest"


class SkippedTests(unittest.TestCase):
    def test_programs_are_listed_with_their_line_and_googletest_reasons_are_counted(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
            subprocess.run([cmake, "-G", "Ninja", "-S", folder, "-B", folder / "build"], check=True, capture_output=True)
            printed = subprocess.run([ctest, "--test-dir", folder / "build"], capture_output=True, text=True).stdout
            self.assertIn("6 - ", printed)
            (folder / "log").write_text(printed, encoding="utf-8")
            last = folder / "build/Testing/Temporary/LastTest.log"
            done = subprocess.run(["awk", "-f", SCRIPT, folder / "log", last], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            lines = done.stdout.splitlines()
            self.assertEqual(lines[:3] + sorted(lines[3:]), EXPECTED)


if __name__ == "__main__":
    cmake, ctest = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
