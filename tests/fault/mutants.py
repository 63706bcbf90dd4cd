#!/usr/bin/env python3
"""Mutants of saving and loading (mutants.txt): each must be noticed by the check that is named for it.

    mutants.py generate TABLE SOURCE_DIR OUT_DIR       copies of the sources with all mutants, picked by GANDIST_MUTANT
    mutants.py files TABLE                             the sources that are changed
    mutants.py run TABLE CHECK=PROGRAM...              runs them; fails when one survives
"""
import concurrent.futures
import os
import re
import resource
import subprocess
import sys
import tempfile
import zlib

LEAST, SECONDS = 30, 180
HEAD = "extern int gd_mutant;\n"
SWITCH = """#include <stdlib.h>
extern int gd_mutant;
int gd_mutant;
__attribute__((constructor)) static void pick(void) {
    const char *s = getenv("GANDIST_MUTANT");
    gd_mutant = s ? atoi(s) : 0;
}
"""


def read_table(path):
    """Mutants: (name, check, [(file, old, new)])."""
    mutants, into, file = [], None, None
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            name, check = line[1:].split("] ")
            mutants.append((name, check, []))
        elif line.startswith("file "):
            file = line[5:]
        elif line.startswith("-"):
            mutants[-1][2].append([file, line[1:].strip(), ""])
            into = 1
        elif line.startswith("+"):
            mutants[-1][2][-1][2] = line[1:].strip()
            into = 2
        elif line.startswith("  ") and into:
            mutants[-1][2][-1][into] += "\n" + line.strip()
        else:
            sys.exit(f"{path}:{number}: what is '{line}'?")
    names = [m[0] for m in mutants]
    if len(set(names)) != len(names):
        sys.exit(f"{path}: a name is there twice")
    return mutants


def place(name, new):
    """Stands for new code until all changes are made, so that none is made in it."""
    return f"@{name}@{zlib.crc32(new.encode()):08x}@"


def switched(number, old, new):
    if old[-1] in ";}":
        return f"if (gd_mutant != {number}) {{ {old} }} else {{ {new} }}"
    return f"(gd_mutant != {number} ? ({old}) : ({new}))"


def apply(number, name, original, text, old, new):
    pattern = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
    found = len(pattern.findall(original))
    if found != 1:
        sys.exit(f"mutants.txt: {name}: found {found} times, expected once: {old}")
    # What was there stays in front: a later mutant of a part of it finds that first.
    text, count = pattern.subn(lambda m: switched(number, m.group(0), place(name, new)), text, count=1)
    if count != 1:
        sys.exit(f"mutants.txt: {name}: overlaps with another one: {old}")
    return text


def generate(table, source, out):
    originals, texts = {}, {}
    changes = [(old, new, file, number, name) for number, (name, _, c) in enumerate(table, 1) for file, old, new in c]
    for old, new, file, number, name in sorted(changes, key=lambda c: -len(c[0])):  # the smaller ones are parts of others
        if file not in originals:
            originals[file] = texts[file] = open(os.path.join(source, file)).read()
        texts[file] = apply(number, name, originals[file], texts[file], old, new)
    for number, (name, _, c) in reversed(list(enumerate(table, 1))):
        for file, _, new in c:
            texts[file] = texts[file].replace(place(name, new), new)
    texts = {file: HEAD + text for file, text in texts.items()}
    texts["switch.c"] = SWITCH
    os.makedirs(out, exist_ok=True)
    for file, text in texts.items():
        with open(os.path.join(out, os.path.basename(file)), "w") as f:
            f.write(text)


def run_one(programs, number, check):
    """(it failed, what it said first)"""
    with tempfile.TemporaryDirectory(prefix=f"mutant-{number}-", dir=os.environ.get("GANDIST_TEST_TMP")) as scratch:
        env = dict(os.environ, GANDIST_MUTANT=str(number), GANDIST_TEST_TMP=scratch, CMOCKA_TEST_ABORT="1")
        try:
            p = subprocess.run([programs[check]], env=env, cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return True, f"no end within {SECONDS} s"
    return p.returncode != 0, what_it_said(p.stdout.decode(errors="replace").replace(scratch, "").splitlines())


def what_it_said(lines):
    """The test that failed, and its message."""
    test = ""
    for at, line in enumerate(lines):
        if "[ RUN      ]" in line:
            test = line.split("]")[1].strip() + ": "
        if line.startswith("ERROR:") or "[  ERROR" in line or "not so:" in line:
            text = line + " " + lines[at + 1] if "not so:" in line and at + 1 < len(lines) else line
            return (test + re.sub(r"^ERROR: |\[  ERROR   \] --- |\[   LINE   \] --- |\S*/tests/|error: Failure!", "", text))[:150]
    return lines[-1][:150] if lines else ""


def run(table, programs):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    checks = sorted({check for _, check, _ in table})
    for check in checks:
        if check not in programs:
            sys.exit(f"mutants.txt: no program for the check '{check}'")
    bad = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for check, (failed, said) in zip(checks, pool.map(lambda c: run_one(programs, 0, c), checks)):
            if failed:
                bad.append(f"{check} fails without a mutant: {said}")
        results = list(pool.map(lambda k: run_one(programs, k + 1, table[k][1]), range(len(table))))
    print(f"{'mutant':<28} {'check':<11} it said")
    for (name, check, _), (failed, said) in zip(table, results):
        print(f"{name:<28} {check:<11} {said if failed else 'NOTHING: it survived'}")
        if not failed:
            bad.append(f"{name} survives {check}")
    print(f"{len(table)} mutants, {sum(failed for failed, _ in results)} noticed")
    if len(table) < LEAST:
        bad.append(f"only {len(table)} mutants; expected {LEAST}")
    for line in bad:
        print("FAILED:", line)
    return 1 if bad else 0


def main():
    table = read_table(sys.argv[2])
    if sys.argv[1] == "generate":
        generate(table, sys.argv[3], sys.argv[4])
    elif sys.argv[1] == "files":
        print(";".join(sorted({c[0] for m in table for c in m[2]})), end="")
    else:
        sys.exit(run(table, dict(a.split("=", 1) for a in sys.argv[3:])))


main()
