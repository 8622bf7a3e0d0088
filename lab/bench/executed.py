"""What hypercalls execute, as plugin.c tells: for run and profile."""

import bisect
import collections
import os
import subprocess

LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(os.path.dirname(LAB), "build")
PLUGIN = os.path.join(BUILD, "bench-plugin.so")
FIRMWARE = range(0x30000000, 0x34000000)
KERNEL = 0x4000000    # no kernel of the lab is larger, no program lies lower
COUNTED = ["executed", "atomics", "hwsync", "lwsync", "devices", "kills", "firmware",
           "hypercalls", "tce", "shared"]

Row = collections.namedtuple("Row", "pc opcode ran entered device kill shared tce")


def build_plugin():
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", PLUGIN,
                    os.path.join(LAB, "bench", "plugin.c")], check=True)


def plugin(out):
    """Options for QEMU."""
    return ["-plugin", f"{PLUGIN},out={out}"]


def kind(opcode):
    """An instruction of the architecture that the bench counts, or none."""
    extended = opcode >> 1 & 0x3ff if opcode >> 26 == 31 else None
    if extended in (150, 182, 214, 694, 726):    # stwcx. stqcx. stdcx. stbcx. sthcx.
        return "atomics"
    if extended == 598:    # sync: 0 is hwsync, 2 ptesync, which is no less
        return {0: "hwsync", 1: "lwsync", 2: "hwsync"}.get(opcode >> 21 & 3)
    return "hypercalls" if opcode == 0x44000022 else None    # sc 1


def read(path):
    """The calls of each load, in the order of the guest's program: lists of rows. Of what
    several CPUs did, the shorter."""
    loads = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            load, place, cpu, pc, opcode, *times = line.split()
            cpus = loads.setdefault(int(load), {}).setdefault(int(place, 16), {})
            cpus.setdefault(cpu, []).append(
                Row(int(pc, 16), int(opcode, 16), *map(int, times)))
    return {load: [min(cpus.values(), key=lambda rows: sum(row.ran for row in rows))
                   for _, cpus in sorted(places.items())]
            for load, places in loads.items()}


def figures(rows):
    """Of a call. Atomics, barriers and stores to shared lines are the kernel's and user
    space's: the firmware has the same, whoever calls it."""
    n = dict.fromkeys(COUNTED, 0)
    for row in rows:
        n["executed"] += row.ran
        n["devices"] += row.device
        n["kills"] += row.kill
        n["firmware"] += row.entered
        n["tce"] += row.tce
        if row.pc in FIRMWARE:
            continue
        n["shared"] += row.shared
        if counted := kind(row.opcode):
            n[counted] += row.ran
    return n


class Symbols:
    """The functions of a kernel, by address."""

    def __init__(self, vmlinux):
        listing = subprocess.run(["powerpc64le-linux-gnu-nm", "-n", vmlinux],
                                 check=True, capture_output=True, text=True).stdout
        rows = [line.split() for line in listing.splitlines()]
        self.table = [(int(row[0], 16), row[2]) for row in rows
                      if len(row) == 3 and row[1] in "tTW"]

    def function(self, pc):
        """What runs with the MMU off is told by "(real)"."""
        if pc in FIRMWARE:
            return "firmware"
        if pc >> 60 == 0 and pc >= KERNEL:
            return "user space"
        real = pc >> 60 == 0
        if real:
            pc |= 0xc << 60
        at = bisect.bisect(self.table, (pc, "\x7f")) - 1
        return (self.table[at][1] if at >= 0 else "?") + (" (real)" if real else "")
