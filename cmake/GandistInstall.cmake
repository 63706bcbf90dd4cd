# cmake --install: the program, its recipes, and the rooms as static libraries with headers.
set(rooms base compute models data dist recipes)
foreach(room IN LISTS rooms)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.h)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gandist/${room})
  install(TARGETS gandist_${room} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
install(TARGETS gandist RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gandist/recipes
        FILES_MATCHING PATTERN "*.yaml")
# The file finds its own place, so an installed tree can be moved.
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/gandist.pc.in gandist.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/gandist.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
