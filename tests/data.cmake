foreach(part image sources bad loader fashion real derived cifar domains augment tar tools)
  gandist_add_test(NAME data_${part} SOURCES unit/data_${part}.c LINK gandist::data gandist::zlib)
endforeach()
foreach(kind png jpeg)
  gandist_add_fuzz_test(NAME data_fuzz_${kind} SOURCES fuzz/data_image.c LINK gandist::data gandist::zlib
                        CORPUS fuzz/corpus/data_${kind} RUNS 3000)
endforeach()
gandist_add_fuzz_test(NAME data_fuzz_idx SOURCES fuzz/data_idx.c LINK gandist::data gandist::zlib CORPUS fuzz/corpus/data_idx RUNS 5000)
gandist_add_fuzz_test(NAME data_fuzz_tar SOURCES fuzz/data_tar.c LINK gandist::data CORPUS fuzz/corpus/data_tar RUNS 6000)
gandist_add_fuzz_test(NAME data_fuzz_labels SOURCES fuzz/data_labels.c LINK gandist::data gandist::zlib CORPUS fuzz/corpus/data_labels RUNS 4000)
# Each run that gets past the size looks at a whole batch of 30 MB.
gandist_add_fuzz_test(NAME data_fuzz_cifar SOURCES fuzz/data_cifar.c LINK gandist::data CORPUS fuzz/corpus/data_cifar RUNS 60)
gandist_add_script_test(NAME cli.data SCRIPT cli/data_command.sh)
