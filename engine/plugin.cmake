# perigee_plugin(<name> <library>...): the module engine/<name> as a plugin, libperigee-<name>.so, which links the
# libraries given and loads at first use. Its sources are engine/<name>/*.cpp. Made from <name>_abi.h and <name>*.lua:
# pg_<name>_plugin() (see core_abi.h) and `const char *pg_<name>_source(const char *file)`, the text of another Lua file
# of the folder (nil if there is none), which <name>.lua loads parts of itself with.
function(perigee_plugin name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  file(GLOB lua CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.lua)
  set(abi ${CMAKE_CURRENT_SOURCE_DIR}/${name}/${name}_abi.h)
  file(GLOB parts CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/${name}_*_abi.h) # which Lua declares itself
  set(files ${abi} ${parts} ${lua})
  set(table ${CMAKE_CURRENT_BINARY_DIR}/plugin_${name}.cpp)
  set(script ${CMAKE_CURRENT_SOURCE_DIR}/embed_plugin.cmake)
  add_custom_command(OUTPUT ${table}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DOUTPUT=${table} "-DFILES=${files}" -P ${script}
    DEPENDS ${files} ${script} VERBATIM)
  # What plugins use of the engine beyond its C ABI: compiled into each, since libperigee exports nothing else.
  add_library(perigee-${name} MODULE ${sources} ${table} core/plugin_support.cpp array/describe.cpp)
  target_include_directories(perigee-${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(perigee-${name} PRIVATE -fvisibility=hidden -fvisibility-inlines-hidden)
  target_link_libraries(perigee-${name} PRIVATE perigee_flags perigee_lib ${ARGN})
  # A closed Lua state does not unload it: what the libraries keep for the process would be lost with each (FFTW's
  # planner, OpenBLAS's threads), and destructors of threads would find no code.
  target_link_options(perigee-${name} PRIVATE -Wl,-z,nodelete)
  set_target_properties(perigee-${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/perigee
    INSTALL_RPATH "$ORIGIN/..")
  if(TARGET perigee)
    add_dependencies(perigee perigee-${name}) # so that the program of a build folder finds its modules
  endif()
  install(TARGETS perigee-${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/perigee)
endfunction()
