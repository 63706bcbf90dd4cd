# The recipes for Apptainer and Spack, without those tools: their lists of libraries are launch/packages' and CMake's, the
# files they take are enough to configure a build, and what they run is what the README says.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source=$GANDIST_SOURCE_DIR def=$GANDIST_SOURCE_DIR/launch/apptainer.def
section() { awk -v s="%$1" '/^%/ {on = $1 == s; next} on' "$def"; }

# Apptainer.
equal "$(sed -n 's/^From: //p' "$def")" "debian:12" "the Debian that launch/packages is for"
post=$(section post)
run 0 bash -n <<<"$post"
out=$post
says "./launch/packages install"; says "cmake --preset release"; says "cmake --build --preset release"
readme=$(cat "$source/README.md")
for line in './launch/test' 'cmake --preset release && cmake --build --preset release'; do
    checks=$((checks + 1)); [[ $readme == *"$line"* ]] || fail "README.md does not say '$line' any more: does launch/apptainer.def?"
done
prefix=$(sed -n 's/.*cmake --install build\/release --prefix //p' <<<"$post")
for s in runscript test; do out=$(section $s); says "$prefix/bin/gandist"; done
while read -r file to; do
    [ -n "$file" ] || continue
    equal "$to" "/opt/gandist/" "where $file goes"
    checks=$((checks + 1)); [ -e "$source/$file" ] || fail "%files: no $file"
    mkdir -p copy && cp -r "$source/$file" copy/
done < <(section files)
run 0 cmake -S copy -B configured -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DGANDIST_CUDA=OFF

# Spack: evaluated with stand-ins for its directives.
run 0 python3 - "$source" <<'PY'
import re, subprocess, sys, types
source = sys.argv[1]
wanted, versions = [], []
stub = types.ModuleType("spack.package")
class CMakePackage:
    run_tests = True
    define = staticmethod(lambda key, value: f"-D{key}={value}")
stub.CMakePackage = CMakePackage
stub.depends_on = lambda spec, type=("build", "link"): wanted.append((re.split(r"[@+ ]", spec)[0], type))
stub.version = lambda *a, **k: versions.append(a[0])
stub.license = stub.generator = lambda *a: None
sys.modules["spack"] = types.ModuleType("spack")
sys.modules["spack.package"] = stub
path = source + "/launch/spack/packages/gandist/package.py"
space = {"__file__": path, "__name__": "package"}
exec(compile(open(path).read(), path, "exec"), space)
package = space["Gandist"]
assert versions == ["main"], versions
import os
assert os.path.samefile(package.git.removeprefix("file://"), source), package.git
options = dict(a[2:].split("=", 1) for a in package().cmake_args())
cmake = open(source + "/CMakeLists.txt").read()
for key in options:
    assert key == "BUILD_TESTING" or re.search(rf"\b{key}\b", cmake), f"CMake knows no {key}"
assert options["BUILD_TESTING"] == "True"

debian = {  # Debian's name: Spack's; None: needs none
    "gcc": "c", "libc6-dev": None, "make": None, "cmake": "cmake", "ninja-build": "ninja", "pkg-config": "pkgconfig",
    "libopenmpi-dev": "mpi", "openmpi-bin": "mpi", "libdnnl-dev": "onednn", "libyaml-dev": "libyaml",
    "libjansson-dev": "jansson", "libpng-dev": "libpng", "libturbojpeg0-dev": "libjpeg-turbo", "libisal-dev": "isa-l",
    "libprotobuf-c-dev": "protobuf-c", "protobuf-c-compiler": "protobuf-c", "zlib1g-dev": "zlib-api",
    "libxxhash-dev": "xxhash", "liblapacke-dev": "netlib-lapack", "dataset-fashion-mnist": None, "libcmocka-dev": "cmocka",
    "python3": "python", "python3-jsonschema": "py-jsonschema", "python3-yaml": "py-pyyaml"}
listed = subprocess.run([source + "/launch/packages"], capture_output=True, text=True, check=True).stdout.split()
unknown = [p for p in listed if p not in debian]
assert not unknown, f"launch/packages has {unknown}: add them to launch/spack/packages/gandist/package.py and here"
needed, given = {debian[p] for p in listed} - {None}, {name for name, _ in wanted}
assert needed == given, f"Spack's list differs: {sorted(needed ^ given)}"
found = re.findall(r"(?m)^gandist_find\(\w+ (\S+) ", open(source + "/cmake/GandistDependencies.cmake").read())
missing = [p for p in found if p not in listed]
assert found and not missing, f"CMake wants {missing}, which launch/packages does not install"
assert {n for n, t in wanted if t == "test"} == {"cmocka", "python", "py-jsonschema", "py-pyyaml"}, wanted
PY
is_file "$source/launch/spack/repo.yaml"
finish
