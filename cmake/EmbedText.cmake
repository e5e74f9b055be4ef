# cmake -DINPUT=FILE -DOUTPUT=FILE.cc -DNAME=kName -DHEADER=folder/name.h -P EmbedText.cmake
# Writes a C++ file that defines clara::NAME, a std::string_view of the text in INPUT.
file(READ "${INPUT}" text)
string(FIND "${text}" ")clara_text\"" place)
if(NOT place EQUAL -1)
  message(FATAL_ERROR "${INPUT}: it holds the mark that ends the text in C++")
endif()
file(WRITE "${OUTPUT}.part" "#include \"${HEADER}\"\n\nnamespace clara {\n\nconst std::string_view ${NAME} = R\"clara_text(")
file(APPEND "${OUTPUT}.part" "${text}")
file(APPEND "${OUTPUT}.part" ")clara_text\";\n\n}  // namespace clara\n")
file(RENAME "${OUTPUT}.part" "${OUTPUT}")
