# cmake --install: program, recipes, libraries with headers, and a program built against them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
prefix="$work/prefix"
run 0 cmake --install "$GANDIST_BUILD_DIR" --prefix "$prefix"
for f in bin/gandist share/gandist/recipes/dcgan.yaml include/gandist/compute/graph.h include/gandist/dist/train.h; do is_file "$prefix/$f"; done
pc=$(find "$prefix" -name gandist.pc)
is_file "$pc"
cat >consumer.c <<'C'
#include <stdio.h>

#include "compute/exec.h"

int main(void) {
    gd_graph *g;
    gd_program *p;
    gd_instance *i;
    _Alignas(64) float x[16] = {3}, y[16] = {0};
    if (gd_graph_new(1, &g)) return 1;
    gd_output out = {"y", gd_square(g, gd_input(g, "x", GD_F32, gd_shape1(1)))};
    if (gd_program_make(g, gd_executor_find("cpu"), 1, &out, NULL, &p) || gd_instance_make(p, &i)) return 1;
    if (gd_instance_bind(i, "x", x) || gd_instance_bind(i, "y", y)) return 1;
    if (gd_instance_run(i, &(gd_run_args){0})) return 1;
    printf("%g\n", y[0]);
    gd_instance_free(i);
    gd_program_free(p);
    gd_graph_free(g);
    return 0;
}
C
export PKG_CONFIG_PATH=${pc%/*}
flags=$(pkg-config --cflags --libs gandist) || fail "pkg-config does not know gandist"
# shellcheck disable=SC2086
run 0 cc -std=c17 consumer.c -o consumer $flags $GANDIST_SANITIZE_FLAGS
run 0 ./consumer; equal "$out" 9 "3 squared by the installed library"
run 0 "$prefix/bin/gandist" "$prefix/share/gandist/recipes/dcgan-64.yaml" --dry-run; says "3,576,704"; says "2,765,568"
finish
