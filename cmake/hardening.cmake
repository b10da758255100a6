# What makes a bug harder to use, in everything that is built optimized; tests/security/test_hardening.py looks for it in
# the built files. Sanitizers replace the checks of the C library, and a debug build is nobody's to attack.

# Bounds of containers, views and optionals: a condition for each access. The slot's call has none that is left after
# constant folding. What uses CAF goes without: see cmake/dependencies.cmake.
add_compile_definitions(_GLIBCXX_ASSERTIONS)

# Without this CMake compiles for a position-independent program, and leaves to the compiler whether it is linked as one.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C CXX)

if(NOT FXFARM_SANITIZE)
  set(optimized $<NOT:$<CONFIG:Debug>>)
  # A distribution's compiler may define another level by itself.
  add_compile_options(
    "$<${optimized}:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3>"
    $<${optimized}:-fstack-protector-strong>
    $<${optimized}:-fstack-clash-protection>)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    # Indirect branches land on marked places only, where processor, kernel and C library see to it.
    add_compile_options($<${optimized}:-fcf-protection=full>)
  endif()
  add_link_options(LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack LINKER:-z,text)
endif()
