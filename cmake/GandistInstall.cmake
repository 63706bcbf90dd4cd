# cmake --install: the program, its recipes, and the rooms as static libraries with headers.
set(rooms base compute models data dist recipes)
foreach(room IN LISTS rooms)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.h)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gandist/${room})
  if(TARGET gandist_${room}) # TEMP
  install(TARGETS gandist_${room} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endforeach()
install(TARGETS gandist RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gandist/recipes
        FILES_MATCHING PATTERN "*.yaml")
configure_file(${PROJECT_SOURCE_DIR}/cmake/gandist.pc.in gandist.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/gandist.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
