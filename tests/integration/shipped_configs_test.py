#!/usr/bin/env python3
"""Every config of configs/, turned into JSON, resolves to the same config, and to what its file says.

Needs PyYAML (scripts/install_deps.sh puts it into .venv); exit code 77 without it.
"""

import json
import sys
import unittest

sys.dont_write_bytecode = True
try:
    import yaml
except ModuleNotFoundError:
    print("skipped: PyYAML is not installed in this Python: scripts/install_deps.sh")
    sys.exit(77)
from program_case import PROJECT, ProgramCase  # noqa: E402

CONFIGS = sorted((PROJECT / "configs").rglob("*.yaml"))


def leaves(tree, path=()):
    """(path, value) of every value that is no mapping or list."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path, tree


def at(tree, path):
    for step in path:
        tree = tree[step]
    return tree


class ShippedConfigsTest(ProgramCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place("configs")
        cls.trees = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONFIGS}
        cls.outcomes = {path: cls.print_config(tree, path) for path, tree in cls.trees.items()}

    @classmethod
    def print_config(cls, tree, config):
        return cls.here.train("--print-config", stage=tree["stage"], config=str(config))

    def each(self):
        self.assertGreater(len(CONFIGS), 0)
        for path in CONFIGS:
            with self.subTest(path.name):
                self.assert_ended(self.outcomes[path])
                yield self.trees[path], self.outcomes[path].out

    def as_json(self, tree):
        self.here.write("config.json", json.dumps(tree))
        outcome = self.print_config(tree, "config.json")
        self.assert_ended(outcome)
        return outcome.out

    def test_as_json_it_resolves_to_the_same_config(self):
        for tree, printed in self.each():
            self.assertEqual(self.as_json(tree), printed)
            more_steps = {**tree["trainer"], "max_steps": tree["trainer"].get("max_steps", 0) + 1}
            self.assertNotEqual(self.as_json({**tree, "trainer": more_steps}), printed, "the JSON was not read")

    def test_it_resolves_to_what_the_file_says(self):
        for tree, printed in self.each():
            resolved = yaml.safe_load(printed)
            for path, value in leaves(tree):
                # A file of data may be a path alone.
                found = at(resolved, path)
                self.assertEqual(found["path"] if isinstance(found, dict) else found, value, path)


if __name__ == "__main__":
    unittest.main()
