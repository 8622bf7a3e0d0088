"""The series as a stack of patches, of which the repository keeps the last state.

A file lab/patches/PART/NNN-name is a patch: its commit message, a line "---", and the
paths that it takes, one a line; one that ends with "/" stands for what is in that
directory and not named elsewhere. Below may stand diffs of paths that another patch
takes. Part A is lab/series/fixes.

A path is taken by one patch at most. Diffs of the patches before that one are applied
to the base; diffs of those behind it are taken out of the repository's text; the difference
between the two results is the taker's. So no text of the repository is anywhere twice,
except in these small diffs.
"""

import glob
import os
import re
import subprocess
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BASE, EXPANDED, REFS = "refs/lab/base", "refs/lab/expanded", "refs/lab/series/"


def fail(*lines):
    sys.exit("error: " + "\n       ".join(lines))


def run(where, *args, env=None, stdin=None):
    return subprocess.run(["git", "-C", where, *args], input=stdin, text=True,
                          capture_output=True, check=False,
                          env=dict(os.environ, **(env or {})))


def git(where, *args, env=None, stdin=None):
    done = run(where, *args, env=env, stdin=stdin)
    if done.returncode:
        fail(f"git {' '.join(args[:9])} in {where}:", *done.stderr.splitlines())
    return done.stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Patch:
    """A file of lab/patches, or a mail of lab/series/fixes."""

    def __init__(self, path):
        self.file = os.path.relpath(path, TOP)
        self.mail = path.endswith(".patch")
        self.part = "A" if self.mail else path.split(os.sep)[-2]
        self.name = f"{self.part}/{os.path.basename(path).removesuffix('.patch')}"
        head, self.diffs = self.split(read(path))
        if self.mail:
            headers, _, head = head.partition("\n\n")
            subject = re.search(r"^Subject: (?:\[.*?\] )?(.*(?:\n .*)*)", headers, re.M)
            head = subject[1].replace("\n ", " ") + "\n\n" + head
        self.message, sep, names = head.partition("\n---\n")
        self.names = [] if self.mail else names.split()
        self.paths = []
        if not sep or not self.names and not self.diffs:
            fail(f"{self.file} changes no path", 'write "---" below the commit '
                 "message, and the paths that it takes, one a line")
        if not re.match(r".+\n\n.", self.message):
            fail(f"{self.file} has no commit message", "a subject, an empty line, and why")

    @staticmethod
    def split(text):
        """What is above the diffs, and {path: diff}."""
        head, *rest = re.split(r"^(?=diff --git a/)", text, flags=re.M)
        return head, {re.match(r"diff --git a/(\S+)", diff)[1]: diff for diff in rest}

    def write(self, stat):
        """Once the diffs are others. A mail has their statistics above them."""
        path = os.path.join(TOP, self.file)
        if self.mail:
            message, rest = read(path).split("\n---\n", 1)
            notes = re.split(r"^ \S+ +\| ", rest, maxsplit=1, flags=re.M)[0]
            head = f"{message}\n---\n{notes}{stat}\n"
        else:
            head = "\n".join([self.message, "---", *self.names]) + "\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + "".join(self.diffs.values()))


def patches():
    """All of them, in their order."""
    found = [Patch(path) for path in sorted(glob.glob(f"{TOP}/lab/series/fixes/*.patch")) +
             sorted(glob.glob(f"{TOP}/lab/patches/?/[0-9]*"))]
    if len(found) < 2:
        fail("there are no patches in lab/series/fixes and lab/patches", "is this a checkout?")
    return found


def assign(stack, changed):
    """Give each changed path to the patch that takes it, if any; {path: its place}."""
    names, takers, used = {}, {}, set()
    for n, patch in enumerate(stack):
        for name in patch.names:
            if name in names:
                fail(f"{name} is taken by {stack[names[name]].file} and by {patch.file}",
                     "a path is taken by one patch; remove it from the other")
            names[name] = n
    diffs = {path for patch in stack for path in patch.diffs}
    lost = []
    for path in changed:
        fits = [name for name in names if name == path or
                name.endswith("/") and path.startswith(name)]
        if fits:
            name = max(fits, key=len)
            used.add(name)
            takers[path] = names[name]
            stack[names[name]].paths.append(path)
        elif path not in diffs:
            lost.append(path)
    if lost:
        fail("no patch of the series has:", *lost, "add each to the file of "
             "lab/patches that it belongs to, below the line ---")
    for name in names.keys() - used:
        fail(f"{stack[names[name]].file} names {name}, and this repository has none",
             "remove the line, or add the file")
    return takers
