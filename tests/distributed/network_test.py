#!/usr/bin/env python3
"""Ranks on a real network: each in a network namespace of its own, joined by a bridge over veth pairs,
with delay (where the kernel has no netem, over TUN devices that a thread serves late), and with a link
that is cut in the middle of a run.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from rank_case import DISTRIBUTED, RankCase, Ranks  # noqa: E402
from slow_network import SlowNetwork  # noqa: E402

from program_case import OK  # noqa: E402

NUM_RANKS = 3
DELAY_MILLISECONDS = 5


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Network:
    """Namespaces clara<pid>r0, r1, … with addresses 10.213.77.1, .2, … on one bridge in a namespace of its own."""

    def __init__(self, num_ranks):
        self.tag = f"cl{os.getpid() % 100000}"
        self.hub = f"{self.tag}hub"
        self.names = [f"{self.tag}r{rank}" for rank in range(num_ranks)]
        self.addresses = [f"10.213.77.{rank + 1}" for rank in range(num_ranks)]

    def open(self):
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge0", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge0", "up")
        for rank, name in enumerate(self.names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            port = f"port{rank}"
            ip("-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", self.hub, "link", "set", port, "master", "bridge0", "up")
            ip("-n", name, "addr", "add", f"{self.addresses[rank]}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def delay(self):
        """Of every packet that leaves a rank; False where the kernel has no netem."""
        for name in self.names:
            done = subprocess.run(
                ["tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{DELAY_MILLISECONDS}ms"],
                capture_output=True,
            )
            if done.returncode != 0:
                return False
        return True

    def cut(self, rank):
        ip("-n", self.hub, "link", "set", f"port{rank}", "down")

    def mend(self, rank):
        ip("-n", self.hub, "link", "set", f"port{rank}", "up")

    def close(self):
        for name in [*self.names, self.hub]:
            ip("netns", "del", name, check=False)


class NetworkTest(RankCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if shutil.which("ip") is None:
            raise unittest.SkipTest("no ip program (Debian package iproute2)")
        cls.network = Network(NUM_RANKS)
        cls.addClassCleanup(cls.network.close)
        try:
            cls.network.open()
        except subprocess.CalledProcessError as error:
            raise unittest.SkipTest(f"network namespaces cannot be made here: {error.stderr.strip()}")

    def ranks(self, place, addresses):
        """Each rank as a node of its own."""
        variables = {
            rank: {"MASTER_ADDR": addresses[0], "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1} for rank in range(NUM_RANKS)
        }
        prefix = {rank: ["ip", "netns", "exec", name] for rank, name in enumerate(self.network.names)}
        return Ranks(place, NUM_RANKS, port=29777, variables=variables, prefix=prefix)

    def assert_trains_as_one_process_does(self, addresses):
        place, one = self.rank_place("nodes"), self.rank_place("one")
        self.assert_ended(one.train())
        ranks = self.ranks(place, addresses)
        self.assertEqual(ranks.wait(), [OK] * NUM_RANKS, "".join(map(ranks.text, range(NUM_RANKS))))
        self.assert_close_runs(place / "run", one / "run")

    def test_nodes_train_as_one_process_does_also_over_a_slow_network(self):
        if self.network.delay():
            self.assert_trains_as_one_process_does(self.network.addresses)
            return
        slow = SlowNetwork(self.network.names, DELAY_MILLISECONDS / 1000)
        self.addCleanup(slow.close)
        try:
            slow.open()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"neither netem nor TUN devices here, so without delay: {error}", file=sys.stderr)
            self.assert_trains_as_one_process_does(self.network.addresses)
            return
        self.assert_trains_as_one_process_does(slow.addresses)
        self.assertGreater(slow.num_packets, 100)
        print(f"{slow.num_packets} packets came {DELAY_MILLISECONDS} ms late", file=sys.stderr)

    def test_a_cut_link_ends_all_ranks_within_the_timeout(self):
        place = self.rank_place(
            "cut", trainer__max_steps=2000, trainer__num_epochs=999, output__save_every_steps=0,
            parallel__timeout_seconds=5,
        )  # fmt: skip
        ranks = self.ranks(place, self.network.addresses)
        self.wait_for_step(place, 2, ranks.processes[0])
        begin = time.monotonic()
        self.addCleanup(self.network.mend, NUM_RANKS - 1)
        self.network.cut(NUM_RANKS - 1)
        codes = ranks.wait(90)
        seconds = time.monotonic() - begin
        text = ranks.text(0)
        self.assertEqual(codes, [DISTRIBUTED] * NUM_RANKS, text)
        self.assertLess(seconds, 60)
        self.assertRegex(text, rf"error: rank {NUM_RANKS - 1} of {NUM_RANKS} .* at step \d+")
        self.assertEqual(len(re.findall("error:", text)), 1, text)
        print(f"all ranks ended {seconds:.1f} s after the cut, with a timeout of 5 s", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
