# Writes build/generated/fxfarm_version.hpp: the project's version, and the commit when this is a checkout, or when whoever
# builds sources without their history, such as an image's, says it in the environment as FXFARM_COMMIT. The same commit
# gives the same file, so builds repeat; configure_file leaves an unchanged file alone.
set(FXFARM_BUILD "${PROJECT_VERSION}")
set(fxfarm_commit_failed TRUE)
find_program(FXFARM_GIT git)
if(FXFARM_GIT)
  execute_process(COMMAND ${FXFARM_GIT} -C ${PROJECT_SOURCE_DIR} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE fxfarm_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                  RESULT_VARIABLE fxfarm_commit_failed)
endif()
if(fxfarm_commit_failed)
  set(fxfarm_commit "")
  string(LENGTH "$ENV{FXFARM_COMMIT}" fxfarm_commit_digits)
  if(fxfarm_commit_digits GREATER_EQUAL 12 AND "$ENV{FXFARM_COMMIT}" MATCHES "^[0-9a-f]+$")
    string(SUBSTRING "$ENV{FXFARM_COMMIT}" 0 12 fxfarm_commit)
  elseif(NOT "$ENV{FXFARM_COMMIT}" STREQUAL "")
    message(FATAL_ERROR "FXFARM_COMMIT is no commit: want 12 to 40 hex digits, not $ENV{FXFARM_COMMIT}")
  endif()
endif()
if(fxfarm_commit)
  string(APPEND FXFARM_BUILD "+g${fxfarm_commit}")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/fxfarm_version.hpp.in ${PROJECT_BINARY_DIR}/generated/fxfarm_version.hpp @ONLY)
