# Builds gandist from the checkout that this file lies in:
#   spack repo add launch/spack && spack install gandist
# Library names differ from Debian's (launch/packages); tests/cli/packaging.sh keeps the two lists in line.
import os

from spack.package import *


class Gandist(CMakePackage):
    """Distributed training of generative adversarial networks: one C program over MPI, from a laptop to a cluster."""

    git = "file://" + os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))

    license("Apache-2.0")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    generator("ninja")

    depends_on("mpi@3.1:")
    depends_on("onednn@2.6:3 cpu_runtime=omp")
    depends_on("libyaml")
    depends_on("jansson")
    depends_on("libpng")
    depends_on("libjpeg-turbo@2:")
    depends_on("isa-l")
    depends_on("protobuf-c", type=("build", "link"))
    depends_on("zlib-api")
    depends_on("xxhash@0.8:")
    depends_on("netlib-lapack+lapacke")

    depends_on("cmocka", type="test")
    depends_on("python@3.9:", type="test")
    depends_on("py-jsonschema", type="test")
    depends_on("py-pyyaml", type="test")

    def cmake_args(self):
        return [self.define("BUILD_TESTING", self.run_tests), self.define("GANDIST_CUDA", "OFF")]
