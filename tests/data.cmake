foreach(part image sources bad loader fashion real)
  gandist_add_test(NAME data_${part} SOURCES unit/data_${part}.c LINK gandist::data gandist::zlib)
endforeach()
foreach(kind png jpeg)
  gandist_add_fuzz_test(NAME data_fuzz_${kind} SOURCES fuzz/data_image.c LINK gandist::data gandist::zlib
                        CORPUS fuzz/corpus/data_${kind} RUNS 3000)
endforeach()
gandist_add_fuzz_test(NAME data_fuzz_idx SOURCES fuzz/data_idx.c LINK gandist::data gandist::zlib CORPUS fuzz/corpus/data_idx RUNS 5000)
