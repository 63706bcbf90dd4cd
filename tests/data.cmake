foreach(part image sources bad loader fashion real derived cifar domains augment tar tools)
  gandist_add_test(NAME data_${part} SOURCES unit/data_${part}.c LINK gandist::data gandist::zlib)
endforeach()
gandist_add_test(NAME data_nomem SOURCES unit/data_nomem.c LINK gandist::data)
target_link_options(test_data_nomem PRIVATE
  LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=strdup,--wrap=strndup,--wrap=asprintf)
# The threads that decode ahead of the one that trains, and those that check many files, under the thread sanitizer.
if(NOT GANDIST_SANITIZE)
  file(GLOB tsan_sources ${PROJECT_SOURCE_DIR}/base/*.c ${PROJECT_SOURCE_DIR}/data/*.c)
  add_library(data_tsan OBJECT ${tsan_sources})
  target_include_directories(data_tsan PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(data_tsan PUBLIC -fsanitize=thread -O1 -g)
  target_link_options(data_tsan PUBLIC -fsanitize=thread)
  target_link_libraries(data_tsan PUBLIC gandist::options gandist::png gandist::turbojpeg gandist::isal gandist::xxhash gandist::zlib
    Threads::Threads m)
  foreach(part loader tools)
    gandist_add_test(NAME data_threads_${part} SOURCES unit/data_${part}.c LINK data_tsan)
  endforeach()
endif()
foreach(kind png jpeg)
  gandist_add_fuzz_test(NAME data_fuzz_${kind} SOURCES fuzz/data_image.c LINK gandist::data gandist::zlib
                        CORPUS fuzz/corpus/data_${kind} RUNS 15000)
endforeach()
gandist_add_fuzz_test(NAME data_fuzz_idx SOURCES fuzz/data_idx.c LINK gandist::data gandist::zlib CORPUS fuzz/corpus/data_idx RUNS 100000)
gandist_add_fuzz_test(NAME data_fuzz_tar SOURCES fuzz/data_tar.c LINK gandist::data CORPUS fuzz/corpus/data_tar RUNS 50000)
gandist_add_fuzz_test(NAME data_fuzz_labels SOURCES fuzz/data_labels.c LINK gandist::data gandist::zlib CORPUS fuzz/corpus/data_labels RUNS 30000)
# Each run that gets past the size looks at a whole batch of 30 MB.
gandist_add_fuzz_test(NAME data_fuzz_cifar SOURCES fuzz/data_cifar.c LINK gandist::data CORPUS fuzz/corpus/data_cifar RUNS 2000)
gandist_add_script_test(NAME cli.data SCRIPT cli/data_command.sh)
