# The graph, its gradients and the definition of each op.
gandist_add_test(NAME compute_graph SOURCES unit/compute_graph.c LINK gandist::compute)
gandist_add_test(NAME compute_graph_errors SOURCES unit/compute_graph_errors.c LINK gandist::compute)
foreach(name ref grad closure parity properties shards)
  gandist_add_test(NAME compute_${name} LINK gandist::compute
    SOURCES ops/compute_${name}.c ops/cases.c ops/harness.c)
endforeach()
gandist_add_test(NAME compute_conv_parity LINK gandist::compute SOURCES ops/compute_conv_parity.c ops/harness.c)
gandist_add_test(NAME compute_graph_nomem SOURCES unit/compute_graph_nomem.c LINK gandist::compute)
if(TARGET test_compute_graph_nomem)
  target_link_options(test_compute_graph_nomem PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endif()
