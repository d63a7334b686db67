# protobuf_sources(RET DIR FILE...): runs protoc-c on DIR/FILE at build time; RET gets the .c files,
# RET_INCLUDE the directory of the generated headers.
find_program(PROTOC_C protoc-c REQUIRED)
function(protobuf_sources ret dir)
    set(out ${CMAKE_BINARY_DIR}/proto)
    file(MAKE_DIRECTORY ${out})
    set(sources)
    foreach(file ${ARGN})
        get_filename_component(stem ${file} NAME_WE)
        add_custom_command(
            OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
            COMMAND ${PROTOC_C} --c_out=${out} -I ${dir} ${dir}/${stem}.proto
            DEPENDS ${dir}/${stem}.proto)
        list(APPEND sources ${out}/${stem}.pb-c.c)
    endforeach()
    set(${ret} ${sources} PARENT_SCOPE)
    set(${ret}_INCLUDE ${out} PARENT_SCOPE)
endfunction()
