"""cmake --install gives a package that an outside project finds, links and runs with.

Usage: outside_project_test.py --cmake C --generator G --compiler X --build DIR --source DIR --torch DIR
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import unittest

parser = argparse.ArgumentParser()
for name in ("cmake", "generator", "compiler", "build", "source", "torch"):
    parser.add_argument("--" + name, required=True)
OPTIONS, REST = parser.parse_known_args()
SOURCE = pathlib.Path(OPTIONS.source)
OUTSIDE = SOURCE / "tests" / "install" / "outside"


def run(*command):
    return subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class OutsideProjectTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.prefix = pathlib.Path(cls.folder.name) / "prefix"
        result = run(OPTIONS.cmake, "--install", OPTIONS.build, "--prefix", cls.prefix)
        if result.returncode != 0:
            raise AssertionError(result.stdout)

    def configure(self, name, source, *settings):
        build = pathlib.Path(self.folder.name) / name
        return build, run(OPTIONS.cmake, "-S", source, "-B", build, "-G", OPTIONS.generator,
                          f"-DCMAKE_CXX_COMPILER={OPTIONS.compiler}", f"-DCMAKE_PREFIX_PATH={self.prefix}", *settings)

    def build_and_run(self, component, *arguments):
        build, result = self.configure(component, OUTSIDE, f"-DCOMPONENT={component}")
        self.assertEqual(result.returncode, 0, result.stdout)
        result = run(OPTIONS.cmake, "--build", build)
        self.assertEqual(result.returncode, 0, result.stdout)
        result = run(build / "outside", *arguments)
        self.assertEqual(result.returncode, 0, result.stdout)
        return result.stdout

    def test_the_whole_library_links_and_runs(self):
        self.assertEqual(self.build_and_run("clara"), "<SEP> 1006\nchosen 1 2\ncandidates with gradient 3\n")

    def test_the_core_links_and_runs_without_libtorch(self):
        printed = self.build_and_run("core", SOURCE / "tests/fixtures/parity/llama_tied/base")
        self.assertIn("outside.yaml:2: trainer.rows_per_stp: unknown key (did you mean trainer.rows_per_step?)", printed)

    def test_every_public_header_is_installed_and_nothing_else(self):
        headers = sorted(p.relative_to(SOURCE / "include") for p in (SOURCE / "include").rglob("*") if p.is_file())
        installed = sorted(p.relative_to(self.prefix / "include") for p in (self.prefix / "include").rglob("*") if p.is_file())
        self.assertEqual(installed, headers)

    def test_the_prompts_of_synthesis_are_installed(self):
        for prompt in (SOURCE / "configs/synthesis").glob("*.txt"):
            self.assertEqual((self.prefix / "share/clara/synthesis" / prompt.name).read_bytes(), prompt.read_bytes())

    def test_the_examples_configure_against_the_package(self):
        _, result = self.configure("examples", SOURCE / "examples")
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_another_libtorch_may_be_given_and_wins_over_an_earlier_one(self):
        build, result = self.configure("torch_given", OUTSIDE, "-DCOMPONENT=clara", f"-DCLARA_TORCH_DIR={OPTIONS.torch}")
        self.assertEqual(result.returncode, 0, result.stdout)
        empty = pathlib.Path(self.folder.name) / "no_torch"
        empty.mkdir()
        build, result = self.configure("torch_given", OUTSIDE, "-DCOMPONENT=clara", f"-DCLARA_TORCH_DIR={empty}")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"LibTorch was not found in {empty}", " ".join(result.stdout.split()))

    def test_an_unknown_component_is_refused_by_name(self):
        _, result = self.configure("unknown", OUTSIDE, "-DCOMPONENT=house")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("components core and clara, not house", " ".join(result.stdout.split()))

    def test_installed_programs_start(self):
        programs = sorted((self.prefix / "bin").glob("clara-*"))
        if not programs:
            self.skipTest("the programs were not built (CLARA_BUILD_TOOLS=OFF)")
        for program in programs:
            with self.subTest(program=program.name):
                result = run(program, "--version")
                self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + REST, verbosity=2)
