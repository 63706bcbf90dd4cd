"""Checks the shipped recipes, and some bad ones, against `gandist schema --json` with python3-jsonschema.

usage: recipes_json_schema.py GANDIST RECIPES_FOLDER; exit 77: python3-jsonschema or python3-yaml is missing
"""
import copy
import json
import pathlib
import re
import subprocess
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}; install the Debian packages python3-jsonschema and python3-yaml")
    sys.exit(77)


class Loader(yaml.SafeLoader):
    """YAML 1.1 reads 2e-4 as text; gandist and YAML 1.2 read a number."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^-?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$"),
                             list("-.0123456789"))

schema = json.loads(subprocess.run([sys.argv[1], "schema", "--json"], check=True, capture_output=True).stdout)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
recipes = sorted(pathlib.Path(sys.argv[2]).glob("*.yaml"))
failures = []


def check(name, value, good):
    errors = [e.message for e in validator.iter_errors(value)]
    if bool(errors) == good:
        failures.append(f"{name}: {errors or 'accepted'}")


for path in recipes:
    check(path.name, yaml.load(path.read_text(), Loader), True)

base = yaml.load((pathlib.Path(sys.argv[2]) / "dcgan.yaml").read_text(), Loader)
bad = {
    "seed": "many",
    "seeed": 3,
    "loss": {"kind": "hindge"},
    "batch": {"global": 0},
    "data": {"image": {"size": 32}},
    "train": {},
    "optimizer": {"g": {"lr": -1}},
    "ema": {"decay": 1},
    "schedule": {"share_fake": "yes"},
    "log": 3,
}
for key, value in bad.items():
    recipe = copy.deepcopy(base)
    recipe[key] = value
    check(f"{key}: {value}", recipe, False)
check("only extends", {"extends": "dcgan.yaml", "seed": 3}, True)
check("empty", {}, False)

print(f"{len(recipes)} recipes, {len(bad) + 2} other checks, {len(failures)} failures")
print("\n".join(failures))
sys.exit(1 if failures or not recipes else 0)
