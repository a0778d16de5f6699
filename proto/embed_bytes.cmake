# cmake -DIN=FILE -DOUT=FILE.cc -P embed_bytes.cmake: the bytes of IN as the definition that
# admin/api/api_descriptors.h declares.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "#include \"admin/api/api_descriptors.h\"
namespace admin {
const unsigned char kApiDescriptors[] = {
${bytes}};
const size_t kApiDescriptorsSize = sizeof(kApiDescriptors);
}  // namespace admin
")
