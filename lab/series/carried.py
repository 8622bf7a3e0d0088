"""What each patch of the stack leaves of its paths on another base than the usual one.

The stack is kept for the usual base. A state before the patch that takes a path is the
other base's file, with what the patches did to the usual base's; one behind it is the
other tree's file without what the patches behind do. lab/tree/fit.py merges the two, and
standard error says where a patch's text was taken over what differs between the bases.
Where a change has no place, as "dir/file.c.7.2.patch" does it elsewhere, the path is at
once what the other tree has.
"""

import difflib
import os
import sys

from stack import BASE, EXPANDED, TOP, git
from states import States

sys.path.append(os.path.join(TOP, "lab/tree"))
from fit import fit


def entries(linux, rev):
    """{path: (mode, blob)} of REV."""
    found = {}
    for line in git(linux, "ls-tree", "-r", "-z", rev).split("\0")[:-1]:
        entry, path = line.split("\t")
        mode, _, blob = entry.split()
        found[path] = mode, blob
    return found


class Carried(States):
    """The states of USUAL, of the tree in OTHER, for the tree in LINUX."""

    exact = False

    def __init__(self, linux, usual, other, takers):
        self.linux, self.other, self.stack = linux, other, usual.stack
        self.base, self.last = entries(linux, BASE), entries(linux, EXPANDED)
        self.old_base, self.old_last = entries(other, BASE), entries(other, EXPANDED)
        self.done = {}
        self.after = [{path: self.carry(path, entry, takers.get(path, n + 1) <= n)
                       for path, entry in after.items()}
                      for n, after in enumerate(usual.after)]
        # What only this base has goes with the file that its name begins with.
        for path in sorted(self.last.keys() - self.old_last.keys()):
            taken = max((name for name in takers if path.startswith(name)), key=len,
                        default=None)
            if taken and self.last[path] != self.base.get(path):
                self.after[takers[taken]][path] = self.last[path]

    def carry(self, path, entry, behind):
        """An entry of the path on this base."""
        if entry == self.old_last.get(path):
            return self.last.get(path)
        if entry is None or entry == self.old_base.get(path):
            return self.base.get(path)
        key = path, entry, behind
        if key not in self.done:
            now, old = (self.last, self.old_last) if behind else (self.base, self.old_base)
            self.done[key] = self.merged(path, now[path], old[path][1], entry)
        return self.done[key]

    def merged(self, path, now, old, entry):
        """NOW of this base, with what was done to OLD of the other to make ENTRY."""
        old, new = (git(self.other, "cat-file", "blob", blob).splitlines(keepends=True)
                    for blob in (old, entry[1]))
        lines = git(self.linux, "cat-file", "blob", now[1]).splitlines(keepends=True)
        text, left, both = fit(lines, "".join(difflib.unified_diff(old, new)))
        if left:
            return self.last[path]
        if both:
            print(f"    {path}: {both} times the patches' text is taken, where the base "
                  "has changed what they change", file=sys.stderr)
        return entry[0], git(self.linux, "hash-object", "-w", "--stdin", stdin=text).strip()
