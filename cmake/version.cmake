# Writes build/generated/fxfarm_version.hpp: the project's version, and the commit when this is a checkout. The same
# commit gives the same file, so builds repeat; configure_file leaves an unchanged file alone.
set(FXFARM_BUILD "${PROJECT_VERSION}")
find_program(FXFARM_GIT git)
if(FXFARM_GIT)
  execute_process(COMMAND ${FXFARM_GIT} -C ${PROJECT_SOURCE_DIR} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE fxfarm_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                  RESULT_VARIABLE fxfarm_commit_failed)
  if(NOT fxfarm_commit_failed)
    string(APPEND FXFARM_BUILD "+g${fxfarm_commit}")
  endif()
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/fxfarm_version.hpp.in ${PROJECT_BINARY_DIR}/generated/fxfarm_version.hpp @ONLY)
