#!/usr/bin/python3
"""Print a file of another base with the patch that was made for the usual base's.

    fit.py FILE PATCH

A hunk that fits is applied. One that does not is merged: both what it changes and what
changed from base to base is done, and of lines that both change, the patch's are taken.
A hunk that has no place is left out. Standard error says what was not plain, as it has to
be looked at; a "dir/file.c.7.2.patch" does what is left to do.
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile

NEAR = 60    # lines that a hunk may have moved, against the one before it


def hunks(text):
    """(line, old lines, new lines) of each hunk of a unified diff."""
    for hunk in re.split(r"(?m)^(?=@@ )", text)[1:]:
        head, *lines = hunk.splitlines(keepends=True)
        line = int(re.match(r"@@ -(\d+)", head)[1]) - 1
        yield (line, [text[1:] for text in lines if text[0] in " -"],
               [text[1:] for text in lines if text[0] in " +"])


def place(lines, old, expected, begin):
    """From where to where LINES are OLD, or something like it; None if nowhere."""
    exact = [at for at in range(begin, len(lines) - len(old) + 1)
             if lines[at:at + len(old)] == old]
    if exact:
        at = min(exact, key=lambda at: abs(at - expected))
        return at, at + len(old)
    first = max(begin, expected - NEAR)
    found = [block for block in difflib.SequenceMatcher(
        None, old, lines[first:expected + len(old) + NEAR], autojunk=False)
        .get_matching_blocks() if "".join(old[block.a:block.a + block.size]).strip(" \t\n{}")]
    if sum(block.size for block in found) * 2 < len(old):
        return None
    return first + found[0].b, first + found[-1].b + found[-1].size


def fit(lines, patch):
    """The new text, the lines of hunks without a place, and how often both changed a line."""
    old, new, at, moved, left = [], [], 0, 0, []
    for line, before, after in hunks(patch):
        where = place(lines, before, line + moved, at)
        if where:
            old += lines[at:where[0]] + before
            new += lines[at:where[0]] + after
            at, moved = where[1], where[0] - line
        else:
            left.append(line + 1)
    with tempfile.TemporaryDirectory(prefix="fit-") as work:
        names = []
        for name, text in ("now", lines), ("old", old + lines[at:]), ("new", new + lines[at:]):
            names.append(os.path.join(work, name))
            with open(names[-1], "w", encoding="utf-8") as file:
                file.writelines(text)
        both = subprocess.run(["git", "merge-file", "-p", "-q", *names], check=False,
                              stdout=subprocess.DEVNULL).returncode
        merged = subprocess.run(["git", "merge-file", "-p", "-q", "--theirs", *names],
                                check=True, capture_output=True, text=True)
    return merged.stdout, left, both


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = file.readlines()
    with open(sys.argv[2], encoding="utf-8") as file:
        text, left, both = fit(lines, file.read())
    for line in left:
        print(f"{sys.argv[2]}: the hunk for line {line} has no place", file=sys.stderr)
    if both:
        print(f"{sys.argv[2]}: {both} changes of what the base changed", file=sys.stderr)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
