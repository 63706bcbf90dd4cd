# Several hosts on one machine, networks that fail, signals, hangs, Slurm. They need root and network namespaces and skip
# visibly where those are not there (tests/cluster/lab.sh). at_point: preloaded into ranks, so without sanitizers.
add_library(at_point MODULE cluster/at_point.c)
target_compile_definitions(at_point PRIVATE _GNU_SOURCE)
target_link_libraries(at_point PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(at_point PROPERTIES C_STANDARD 17 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})

foreach(name hosts signals slow network soak)
  gandist_add_script_test(NAME cluster.${name} SCRIPT cluster/${name}.sh PROCESSORS 2 LABELS default cluster TIMEOUT 600)
  gandist_add_script_test(NAME cluster.${name}_long SCRIPT cluster/${name}.sh PROCESSORS 2 LABELS long cluster TIMEOUT 10800 ARGS --long)
endforeach()
# It mostly waits for Slurm.
gandist_add_script_test(NAME cluster.slurm SCRIPT cluster/slurm.sh LABELS default cluster TIMEOUT 900)
gandist_add_script_test(NAME cluster.slurm_long SCRIPT cluster/slurm.sh LABELS long cluster TIMEOUT 10800 ARGS --long)
