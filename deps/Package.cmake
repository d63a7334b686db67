# The Debian package: `cpack -G DEB` in the build folder, or `./dev deb`. What it holds beyond the
# program stands in deps/debian; docs/hosts.md says how it is used.
include(GNUInstallDirs)
set(DEBIAN ${CMAKE_SOURCE_DIR}/deps/debian)
set(PACKED ${CMAKE_BINARY_DIR}/packed) # not where CPack writes, which is emptied before

# Compressed as Debian wants it: at most, without name and time.
function(install_compressed source name destination)
    find_program(GZIP gzip REQUIRED)
    file(MAKE_DIRECTORY ${PACKED})
    execute_process(COMMAND ${GZIP} -9nc ${source} OUTPUT_FILE ${PACKED}/${name}
                    COMMAND_ERROR_IS_FATAL ANY)
    install(FILES ${PACKED}/${name} DESTINATION ${destination} COMPONENT package EXCLUDE_FROM_ALL)
endfunction()

string(TIMESTAMP PACKAGE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(${DEBIAN}/changelog.in ${PACKED}/changelog @ONLY)
file(READ ${CMAKE_SOURCE_DIR}/LICENSE LICENSE_TEXT)
configure_file(${DEBIAN}/copyright.in ${PACKED}/copyright @ONLY)

install_compressed(${PACKED}/changelog changelog.gz ${CMAKE_INSTALL_DOCDIR})
install_compressed(${CMAKE_SOURCE_DIR}/daemon/spegel.8 spegel.8.gz ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${PACKED}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${DEBIAN}/spegel.default DESTINATION /etc/default RENAME spegel COMPONENT package EXCLUDE_FROM_ALL)
install(DIRECTORY DESTINATION /etc/containerd/certs.d COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${DEBIAN}/completion.bash DESTINATION share/bash-completion/completions
        RENAME spegel COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${DEBIAN}/completion.zsh DESTINATION share/zsh/vendor-completions
        RENAME _spegel COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${DEBIAN}/completion.fish DESTINATION share/fish/vendor_completions.d
        RENAME spegel.fish COMPONENT package EXCLUDE_FROM_ALL)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME spegel)
set(CPACK_PACKAGE_CONTACT "The Spegel in C authors <maintainers@spegel.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL program package)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS containerd)
# The lines but the first are indented by CPack.
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "cluster-local mirror of OCI registries
One daemon on each node serves the images that the node's containerd
holds, and fetches from the other nodes what it lacks. It stores nothing
twice and needs no other service; where it has no answer, containerd
asks the registry itself.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${DEBIAN}/conffiles ${DEBIAN}/postinst ${DEBIAN}/prerm
    ${DEBIAN}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
