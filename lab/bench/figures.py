"""The figures of lab/bench/run by name, and how they compare with lab/bench/goals.

What is measured is of a machine, a kernel, circumstances ("where": those of tce_bench,
user: the VMM serves, or pair: two virtual CPUs do this, with entries of their own) and a
call. clear512 is the second call of map512+clear512.
"""

import os

BENCH = os.path.dirname(os.path.abspath(__file__))
LOADS = {
    "put": "H_PUT_TCE",
    "indirect512": "H_PUT_TCE_INDIRECT x 512",
    "map1+clear1": "map 1, clear 1 (two calls)",
    "map512+clear512": "map 512, clear 512 (two calls)",
}
COUNTERS = {"atomics": "atomics", "shared": "shared", "hwsync": "hwsync",
            "lwsync": "lwsync", "devices": "stores", "kills": "kills",
            "firmware": "firmware", "hypercalls": "hcalls", "tce": "for TCEs"}
GROWTH = {"regions": "regions", "liobns": "LIOBNs", "spread": "spread"}
COUNTED = {"instructions": "executed"}
# What 256 regions or LIOBNs may cost
TEN_PERCENT = 1.1


class Figures:
    def __init__(self, rows, goals=os.path.join(BENCH, "goals")):
        self.rows = {(row["machine"], row["kernel"], row["way"], row["config"], row["load"]):
                     row for row in rows if row["what"] == "bench"}
        self.pairs = {(row["machine"], row["kernel"], "map{0}+clear{0}".format(row["entries"])):
                      row["calls"] for row in rows
                      if row["what"] == "shared" and row["liobns"] == "shared"}
        self.machines = list(dict.fromkeys(key[0] for key in self.rows))
        self.goals = {}
        with open(goals, encoding="utf-8") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    *key, goal = line.split()
                    self.goals[tuple(key)] = goal

    def row(self, machine, kernel, where, call):
        way = where if where == "user" else "base" if kernel == "base" else "tree"
        return self.rows.get((machine, kernel, way, "one" if where == "user" else where, call))

    def get(self, machine, kernel, where, call, figure="instructions"):
        """A figure, or None where it was not measured."""
        if where == "pair" and figure != "4k" and figure not in GROWTH:
            calls = self.pairs.get((machine, kernel, call))
            return sum(n[COUNTED.get(figure, figure)] for n in calls) if calls else None
        load = "map512+clear512" if call == "clear512" else call
        row = self.row(machine, kernel, where, load)
        if not row:
            return None
        if figure == "4k":
            with_4k = self.get(machine, "4k", where, call)
            return with_4k and kernel == "tree" and round(
                100 * with_4k / self.get(machine, "tree", where, call)) or None
        if figure in GROWTH:
            more = self.row(machine, kernel, figure, call)
            return more and where == "one" and round(100 * more["ns"] / row["ns"]) or None
        if figure == "shared":
            return None
        if figure == "instructions" and load == call:
            return row["ns"]
        return sum(n[COUNTED.get(figure, figure)] for n in row["calls"][load != call:])

    def goal(self, machine, where, call, figure):
        """A number, or None where there is none."""
        goal = self.goals.get((machine, figure, where, call)) or \
            self.goals.get(("any", figure, where, call))
        if goal == "base":
            return self.get(machine, "base", where, call, figure)
        return goal and int(goal)

    def is_worse(self, machine, where, call, figure):
        """Than the base's. An lwsync in place of a hwsync is not."""
        if figure in GROWTH or figure == "4k":
            return False
        base, tree = ([self.get(machine, kernel, where, call, name)
                       for name in ([figure, "hwsync"] if figure == "lwsync" else [figure])]
                      for kernel in ("base", "tree"))
        return None not in base and None not in tree and sum(tree) > sum(base)

    def judge(self, machine, where, call, figure):
        """"worse" than the base's, goal "not met", or None."""
        tree = self.get(machine, "tree", where, call, figure)
        goal = self.goal(machine, where, call, figure)
        if tree is None:
            return None if goal is None else "not measured"
        if self.is_worse(machine, where, call, figure):
            return "worse"
        return "not met" if goal is not None and tree > goal else None
