"""A network whose every packet comes late, for kernels without netem: a TUN device in the network namespace
of each rank, and a thread that carries the packets between them. Standard library only.
"""

import ctypes
import fcntl
import heapq
import os
import pathlib
import select
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "slow0"
LARGEST_PACKET = 65536
PREFIX = "10.213.78."  # the last byte of an address is the rank's place, from 1


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def open_tun(namespace):
    """A TUN device made inside a namespace. Its thread leaves the namespace by ending."""
    opened = []

    def work():
        with pathlib.Path(f"/run/netns/{namespace}").open() as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET) != 0:
                opened.append(OSError(ctypes.get_errno(), f"setns {namespace}"))
                return
        try:
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
            opened.append(tun)
        except OSError as error:
            opened.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(opened[0], OSError):
        raise opened[0]
    return opened[0]


class SlowNetwork:
    """Between namespaces that are there already: rank r has address PREFIX + (r + 1) on the device slow0."""

    def __init__(self, namespaces, delay_seconds):
        self.namespaces = namespaces
        self.delay_seconds = delay_seconds
        self.addresses = [f"{PREFIX}{rank + 1}" for rank in range(len(namespaces))]
        self.num_packets = 0
        self.tuns = []
        self.thread = None
        self.stopped, self.stop = os.pipe()

    def open(self):
        """Raises OSError or CalledProcessError where TUN devices cannot be made."""
        for namespace, address in zip(self.namespaces, self.addresses, strict=True):
            self.tuns.append(open_tun(namespace))
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", DEVICE)
            ip("-n", namespace, "link", "set", DEVICE, "up")
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def close(self):
        os.close(self.stop)
        if self.thread is not None:
            self.thread.join()
        for tun in self.tuns:
            os.close(tun)
        os.close(self.stopped)

    def carry(self):
        on_the_way = []  # (when it arrives, number, where, packet)
        while True:
            wait = max(0, on_the_way[0][0] - time.monotonic()) if on_the_way else None
            ready, _, _ = select.select([*self.tuns, self.stopped], [], [], wait)
            if self.stopped in ready:
                return
            for tun in ready:
                packet = os.read(tun, LARGEST_PACKET)
                place = packet[19] - 1 if packet[0] >> 4 == 4 else -1  # IPv4: the destination's last byte
                if 0 <= place < len(self.tuns):
                    self.num_packets += 1
                    due = time.monotonic() + self.delay_seconds
                    heapq.heappush(on_the_way, (due, self.num_packets, self.tuns[place], packet))
            while on_the_way and on_the_way[0][0] <= time.monotonic():
                *_, tun, packet = heapq.heappop(on_the_way)
                try:
                    os.write(tun, packet)
                except BlockingIOError:
                    pass  # a full queue loses packets, as networks do: TCP sends them again
