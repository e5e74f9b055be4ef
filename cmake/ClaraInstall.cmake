# cmake --install: headers, static libraries, programs (tools/) and the package that find_package(clara) reads.
#
# Two export sets, so that COMPONENTS core needs no LibTorch: clara::core, and clara::clara on top of it.
include(CMakePackageConfigHelpers)
set(clara_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/clara)

install(TARGETS clara_core EXPORT claraCoreTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS clara_clara EXPORT claraTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/clara DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
foreach(set claraCoreTargets claraTargets)
  install(EXPORT ${set} NAMESPACE clara:: DESTINATION ${clara_package_folder})
endforeach()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/claraConfig.cmake.in ${PROJECT_BINARY_DIR}/claraConfig.cmake
  INSTALL_DESTINATION ${clara_package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/claraConfigVersion.cmake
                                 VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/claraConfig.cmake ${PROJECT_BINARY_DIR}/claraConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/ClaraTorch.cmake
        DESTINATION ${clara_package_folder})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Installed programs find the wheel's libraries where the build found them.
foreach(tool clara-train clara-eval clara-data)
  if(TARGET ${tool})
    set_target_properties(${tool} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  endif()
endforeach()
