foreach(part rng status text io)
  gandist_add_test(NAME base_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/base_${part}.c LINK gandist::base)
endforeach()
