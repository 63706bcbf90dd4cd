gandist_add_test(NAME launch.latents SOURCES unit/launch_latents.c ${PROJECT_SOURCE_DIR}/launch/latents.c LINK gandist::base)
gandist_add_test(NAME launch.options SOURCES unit/launch_options.c ${PROJECT_SOURCE_DIR}/launch/options.c LINK gandist::base)
gandist_add_test(NAME launch.metrics SOURCES unit/launch_metrics.c LINK gandist::metrics)
gandist_add_test(NAME launch.weights SOURCES unit/launch_weights.c LINK gandist::launch)
