"""What each patch of the stack leaves of its paths, as commits in build/linux.

refs/lab/series/PART/NNN-name are the commits of the series as it was last made. A diff
that no longer applies is merged with them, when it may be written anew.
"""

import os
import re
import subprocess
import tempfile

from stack import BASE, EXPANDED, REFS, TOP, fail, git, run

CONFLICT = os.path.join(TOP, "build/conflict")


def identity():
    """Who the patches are from, and who signs them off."""
    signoff = os.environ.get("SIGNOFF", "")
    match = re.fullmatch(r"(.*\S) *<(\S+@\S+)>", signoff)
    if signoff and not match:
        fail(f"SIGNOFF={signoff} is no name and address",
             'write SIGNOFF="Name <name@example.org>"')
    if match:
        name, mail = match.groups()
    else:
        configured = run(TOP, "config", "user.email").returncode == 0
        ident = git(TOP, "var", "GIT_AUTHOR_IDENT", env={} if configured else {
            "GIT_AUTHOR_NAME": "lab", "GIT_AUTHOR_EMAIL": "lab@localhost"})
        name, mail = re.fullmatch(r"(.*) <(.*)> .*\n", ident).groups()
    date = git(TOP, "log", "-1", "--format=%cI").strip()
    return {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", mail), ("DATE", date))}, signoff


def apply(linux, env, text, how):
    """Put a diff on the index; what git says if it cannot."""
    done = run(linux, "apply", "--cached", "--whitespace=nowarn", *how, "-", env=env,
               stdin=text)
    return done.stderr.splitlines() if done.returncode else None


def merge(linux, env, patch, path, how):
    """Have a diff follow its path, by the states that it was made for."""
    done = os.path.join(CONFLICT, patch.name, path)
    if os.path.exists(done):
        with open(done, encoding="utf-8") as file:
            text = file.read()
    else:
        ref = REFS + patch.name
        old, new = (ref, ref + "^") if how else (ref + "^", ref)
        with tempfile.TemporaryDirectory(prefix="series-") as where:
            for name, blob in ("now", f":{path}"), ("old", f"{old}:{path}"), \
                              ("new", f"{new}:{path}"):
                with open(os.path.join(where, name), "w", encoding="utf-8") as file:
                    file.write(git(linux, "show", blob, env=env))
            merged = subprocess.run(["git", "merge-file", "-p", "--diff3", "now", "old",
                                     "new"], cwd=where, text=True, capture_output=True,
                                    check=False)
        if merged.returncode > 127:
            fail(f"{patch.file}: {path} cannot be merged", *merged.stderr.splitlines())
        text = merged.stdout
    # A conflict within what the patch adds: it adds all of that, however it was edited.
    if how:
        text = re.sub(r"(?ms)^<<<<<<< now\n.*?^=======\n>>>>>>> new\n", lambda found: (
            "" if found[0].count("<<<<<<< ") == 1 else found[0]), text)
    if re.search("^<<<<<<< ", text, re.M):
        os.makedirs(os.path.dirname(done), exist_ok=True)
        with open(done, "w", encoding="utf-8") as file:
            file.write(text)
        fail(f"{patch.file} no longer applies to {path}",
             f"make of {os.path.relpath(done, TOP)} what the path is "
             f"{'before' if how else 'after'} that patch, and run \"make refresh\" again")
    blob = git(linux, "hash-object", "-w", "--stdin", stdin=text).strip()
    mode = git(linux, "ls-files", "-s", "--", path, env=env).split()[0]
    git(linux, "update-index", "--cacheinfo", f"{mode},{blob},{path}", env=env)


class States:
    """after[n] is {path: (mode, blob), or None where there is none} of patch n."""

    exact = True    # Each patch changes all that it names

    def __init__(self, linux, stack, takers, heal):
        self.linux, self.stack, self.heal = linux, stack, heal
        self.after = [{} for _ in stack]
        with tempfile.TemporaryDirectory(prefix="series-") as where:
            self.begin(BASE, where)
            for n, patch in enumerate(stack):
                paths = [p for p in patch.diffs if takers.get(p, n + 1) > n]
                self.apply(patch, paths)
                self.note(n, paths)
            self.begin(EXPANDED, where)
            for n, patch in reversed(list(enumerate(stack))):
                paths = [p for p in patch.diffs if takers.get(p, n + 1) < n]
                for path in set(patch.paths) & patch.diffs.keys():
                    fail(f"{patch.file} takes {path}, and has a diff of it",
                         "remove the one or the other")
                self.note(n, patch.paths + paths)
                self.apply(patch, paths, "-R")

    def begin(self, tree, where):
        """An index that has the paths of patches alone, which git reads quickly."""
        self.env = {"GIT_INDEX_FILE": os.path.join(where, tree.split("/")[-1])}
        paths = {path for patch in self.stack for path in (*patch.diffs, *patch.paths)}
        git(self.linux, "update-index", "-z", "--index-info", env=self.env,
            stdin=git(self.linux, "ls-tree", "-r", "-z", tree, "--", *sorted(paths)))

    def note(self, n, paths):
        self.after[n].update(dict.fromkeys(paths))
        out = paths and git(self.linux, "ls-files", "-s", "-z", "--", *paths, env=self.env)
        for line in out.split("\0")[:-1] if out else []:
            entry, path = line.split("\t")
            self.after[n][path] = tuple(entry.split()[:2])

    def apply(self, patch, paths, *how):
        text = "".join(patch.diffs[path] for path in paths)
        if not paths or apply(self.linux, self.env, text, how) is None:
            return
        for path in paths:
            said = apply(self.linux, self.env, patch.diffs[path], how)
            if said and self.heal:
                merge(self.linux, self.env, patch, path, how)
            elif said:
                fail(f"{patch.file} no longer applies to {path}", *said,
                     'run "make refresh", which has it follow if it can')

    def commit(self, env, signoff):
        """A commit a patch on top of the base; the last is the tree itself."""
        linux, refs = self.linux, []
        parent = git(linux, "rev-parse", BASE).strip()
        with tempfile.TemporaryDirectory(prefix="series-") as where:
            env = {**env, "GIT_INDEX_FILE": os.path.join(where, "index")}
            git(linux, "read-tree", BASE, env=env)
            for patch, after in zip(self.stack, self.after):
                git(linux, "update-index", "-z", "--index-info", env=env, stdin="".join(
                    f"{entry[0]} {entry[1]}\t{path}\0" if entry else f"0 {'0' * 40}\t{path}\0"
                    for path, entry in after.items()))
                tree = git(linux, "write-tree", env=env).strip()
                here = git(linux, "diff-tree", "-r", "--name-only", parent, tree).split()
                named = {*patch.names, *patch.diffs} if self.exact else set()
                for path in sorted(after.keys() & named - set(here)):
                    fail(f"{patch.file} does not change {path}",
                         "remove the path from its list, or its diff")
                text = patch.message.rstrip("\n") + "\n"
                if signoff:
                    text += ("" if re.search(r"^[A-Z][\w-]+: .*\n\Z", text, re.M) else "\n") + \
                        f"Signed-off-by: {signoff}\n"
                parent = git(linux, "commit-tree", tree, "-p", parent, "-F", "-", env=env,
                             stdin=text).strip()
                refs.append((REFS + patch.name, parent))
        for path in git(linux, "diff", "--name-only", parent, EXPANDED).splitlines():
            fail(f"the series does not make {path} of this repository",
                 "a diff is missing, or no patch takes the path")
        for ref in git(linux, "for-each-ref", "--format=%(refname)", REFS).split():
            git(linux, "update-ref", "-d", ref)
        for ref, commit in refs:
            git(linux, "update-ref", ref, commit)
        return refs
