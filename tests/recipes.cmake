foreach(part bad load text schema nomem)
  gandist_add_test(NAME recipes_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/recipes_${part}.c
    LINK gandist::recipes gandist::jansson)
endforeach()
target_link_options(test_recipes_nomem PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
gandist_add_test(NAME recipes_match SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/recipes_match.c
  LINK gandist::recipes gandist::models gandist::data)
gandist_add_fuzz_test(NAME fuzz_recipes SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz/recipes_parse.c
  LINK gandist::recipes CORPUS ${CMAKE_CURRENT_LIST_DIR}/fuzz/corpus/recipes RUNS 8000)
# The JSON Schema against the recipes themselves, by an independent validator.
add_test(NAME recipes_json_schema
  COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/unit/recipes_json_schema.py $<TARGET_FILE:gandist> ${PROJECT_SOURCE_DIR}/recipes)
set_tests_properties(recipes_json_schema PROPERTIES TIMEOUT 60 SKIP_RETURN_CODE 77 LABELS default)
# Runs a few iterations for every key there is: what launch/ makes of a recipe, and what dist/ makes of that.
gandist_add_test(NAME recipes_effect SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/recipes_effect.c
  LINK gandist::launch gandist::recipes)
gandist_add_test(NAME recipes_shipped SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/recipes_shipped.c
  LINK gandist::launch gandist::recipes)
set_property(TEST recipes_effect APPEND PROPERTY ENVIRONMENT OMP_NUM_THREADS=1) # tiny work: threads would only wait
