// The safetensors reader refuses every lie of a header, the writer is exact, shards and index
// agree.
#include "clara/common/safetensors_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string length_bytes(std::uint64_t length) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

/// A file with this header and this many bytes of data 0, 1, 2, …
std::string file_bytes(const std::string& header, std::size_t num_data_bytes) {
  std::string bytes = length_bytes(header.size()) + header;
  for (std::size_t i = 0; i < num_data_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

template <typename E>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

/// The message of opening such a file; "" if it opens.
std::string open_message(const std::string& bytes) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "t.safetensors", bytes);
  try {
    const SafetensorsFile file(folder / "t.safetensors");
  } catch (const DataError& error) {
    const std::string message = error.what();
    const std::string place = (folder / "t.safetensors").string() + ": ";
    EXPECT_THAT(message, StartsWith(place));
    return message.substr(std::min(place.size(), message.size()));
  }
  return "";
}

std::string header_message(const std::string& header, std::size_t num_data_bytes) {
  return open_message(file_bytes(header, num_data_bytes));
}

template <typename T>
TensorEntry entry(std::string name, TensorDtype dtype, std::vector<std::int64_t> shape,
                  const std::vector<T>& values) {
  return {std::move(name), dtype, std::move(shape),
          reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> values_of(const TensorEntry& tensor) {
  std::vector<T> values(tensor.num_bytes / sizeof(T));
  std::memcpy(values.data(), tensor.data, tensor.num_bytes);
  return values;
}

TEST(SafetensorsFile, ReadsNamesShapesAndBytesInTheHeadersOrder) {
  const TemporaryFolder folder;
  write_file_atomically(
      folder / "t.safetensors",
      file_bytes(R"({"b":{"dtype":"U8","shape":[2,2],"data_offsets":[2,6]},)"
                 R"("__metadata__":{"format":"pt","é":"ü"},)"
                 R"("a":{"shape":[],"data_offsets":[0,2],"dtype":"BF16"},)"
                 R"("none":{"dtype":"F32","shape":[0,3],"data_offsets":[2,2]}}   )",
                 6));
  const SafetensorsFile file(folder / "t.safetensors");
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.tensors()[0].name, "b");
  EXPECT_EQ(file.tensors()[1].name, "a");
  EXPECT_EQ(file.tensors()[2].name, "none");
  EXPECT_EQ(file.at("b").dtype, TensorDtype::kU8);
  EXPECT_THAT(file.at("b").shape, ElementsAre(2, 2));
  EXPECT_THAT(values_of<std::uint8_t>(file.at("b")), ElementsAre(2, 3, 4, 5));
  EXPECT_EQ(file.at("a").dtype, TensorDtype::kBF16);
  EXPECT_TRUE(file.at("a").shape.empty());
  EXPECT_THAT(values_of<std::uint8_t>(file.at("a")), ElementsAre(0, 1));
  EXPECT_EQ(file.at("none").num_bytes, 0U);
  EXPECT_THAT(file.metadata(),
              ElementsAre(std::pair<const std::string, std::string>("format", "pt"),
                          std::pair<const std::string, std::string>("é", "ü")));
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(
      message_of<DataError>([&] { file.at("c"); }),
      (folder / "t.safetensors").string() + ": tensor c: expected in the file, found 3 others");
}

TEST(SafetensorsFile, MappingKeepsTheBytesAliveWithoutTheObject) {
  const TemporaryFolder folder;
  std::vector<std::int32_t> values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i * i);
  write_safetensors(folder / "t.safetensors", {entry("x", TensorDtype::kI32, {50, 100}, values)});
  std::shared_ptr<const void> mapping;
  TensorEntry view;
  {
    SafetensorsFile file(folder / "t.safetensors");
    const SafetensorsFile moved = std::move(file);
    mapping = moved.mapping();
    view = moved.at("x");
  }
  std::filesystem::remove(folder / "t.safetensors");
  EXPECT_EQ(values_of<std::int32_t>(view), values);
}

TEST(SafetensorsFile, AcceptsAFileWithoutTensors) { EXPECT_EQ(header_message("{}", 0), ""); }

TEST(SafetensorsFile, NamesAMissingFileAndAFolder) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFile(folder / "no.safetensors"); }),
              HasSubstr("no.safetensors: cannot read: No such file"));
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFile{folder.path()}; }),
              HasSubstr("found a folder"));
}

TEST(SafetensorsFile, RefusesALyingHeaderLength) {
  EXPECT_EQ(open_message(""), "header: expected at least 8 bytes, found 0");
  EXPECT_EQ(open_message("1234567"), "header: expected at least 8 bytes, found 7");
  EXPECT_THAT(open_message(length_bytes(0)), HasSubstr("found a length of 0"));
  EXPECT_THAT(open_message(length_bytes(3) + "{}"),
              AllOf(HasSubstr("at most the 2 bytes that follow"), HasSubstr("cut off")));
  EXPECT_THAT(open_message(length_bytes(100'000'001) + "{}"),
              HasSubstr("expected at most 100000000 bytes"));
  EXPECT_THAT(open_message(std::string(8, '\xff') + "{}"),
              HasSubstr("found a length of 18446744073709551615"));
  EXPECT_THAT(open_message("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
              HasSubstr("Git LFS pointer"));
  EXPECT_THAT(open_message("PK\x03\x04 some archive that is no tensor file"),
              HasSubstr("is this a safetensors file?"));
}

TEST(SafetensorsFile, RefusesAHeaderThatIsNoJsonObject) {
  for (const char* header : {"[]", "\"a\"", "1", " {}", "\xEF\xBB\xBF{}", "null"}) {
    EXPECT_THAT(header_message(header, 0), HasSubstr("begins with {")) << header;
  }
  for (const char* header :
       {"{", "{}}", "{}x", "{\"a\"}", "{\"a\":}", "{,}", "{\"a\xff\":1}", "{\"\\ud800\":1}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],}}"}) {
    EXPECT_THAT(header_message(header, 1), HasSubstr("found a mistake at byte")) << header;
  }
  const std::string with_nul("{}\0", 3);
  EXPECT_THAT(header_message(with_nul, 0), HasSubstr("found a mistake at byte"));
}

TEST(SafetensorsFile, SurvivesAHeaderOfEndlessNesting) {
  EXPECT_THAT(header_message(R"({"a":)" + std::string(1'000'000, '['), 0),
              HasSubstr("\"a\": expected an object, found a list"));
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += R"({"a":)";
  EXPECT_THAT(header_message(objects, 0),
              HasSubstr("tensor a: expected dtype, shape and data_offsets, found \"a\""));
}

TEST(SafetensorsFile, RefusesEntriesOfTheWrongKind) {
  const auto tensor = [](const std::string& fields) { return R"({"x":{)" + fields + "}}"; };
  struct Case {
    std::string header;
    std::string message;
  };
  const std::vector<Case> cases = {
      {R"({"x":3})", "header: \"x\": expected an object, found 3"},
      {R"({"x":null})", "header: \"x\": expected an object, found null"},
      {tensor(R"("dtype":"F4","shape":[1],"data_offsets":[0,4])"),
       "tensor x: dtype: expected one of BOOL U8"},
      {tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])"), "found \"f32\""},
      {tensor(R"("dtype":7,"shape":[1],"data_offsets":[0,4])"), "tensor x: dtype: expected one of"},
      {tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"),
       "tensor x: shape: expected whole numbers from 0 to 2^63 - 1, found -1"},
      {tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), "found 1.0"},
      {tensor(R"("dtype":"F32","shape":[1e0],"data_offsets":[0,4])"), "found 1e0"},
      {tensor(R"("dtype":"F32","shape":["1"],"data_offsets":[0,4])"), "found \"1\""},
      {tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"),
       "shape: expected whole numbers"},
      {tensor(R"("dtype":"F32","shape":[true],"data_offsets":[0,4])"), "found true"},
      {tensor(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])"),
       "found 9223372036854775808"},
      {tensor(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"),
       "found 99999999999999999999"},
      {tensor(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"),
       "tensor x: shape: expected a list"},
      {tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,-4])"),
       "tensor x: data_offsets: expected whole numbers"},
      {tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"),
       "data_offsets: expected 2 numbers, found 1"},
      {tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"),
       "data_offsets: expected 2 numbers, found 3"},
      {tensor(R"("dtype":"F32","shape":[1],"data_offsets":{})"), "data_offsets: expected a list"},
      {tensor(R"("shape":[1],"data_offsets":[0,4])"), "found no dtype"},
      {tensor(R"("dtype":"F32","data_offsets":[0,4])"), "found no shape"},
      {tensor(R"("dtype":"F32","shape":[1])"), "found no data_offsets"},
      {tensor(""), "found no dtype"},
      {tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1])"),
       "found \"strides\""},
      {tensor(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"),
       "found \"dtype\" twice"},
      {tensor(R"("dtype":"F32","shape":[],"shape":[1],"data_offsets":[0,4])"),
       "found \"shape\" twice"},
      {R"({"__metadata__":{"a":1}})", "header: __metadata__: a: expected a string, found 1"},
      {R"({"__metadata__":{"a":{}}})", "__metadata__: a: expected a string, found an object"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "found \"a\" twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "found \"__metadata__\" twice"},
      {R"({"__metadata__":"pt"})", "\"__metadata__\": expected an object"},
  };
  for (const Case& one : cases) {
    EXPECT_THAT(header_message(one.header, 4), HasSubstr(one.message)) << one.header;
  }
}

TEST(SafetensorsFile, RefusesOffsetsThatDoNotFit) {
  const auto x = [](const std::string& shape, const std::string& offsets) {
    return R"("x":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const auto y = [](const std::string& shape, const std::string& offsets) {
    return R"("y":{"dtype":"U8","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  EXPECT_EQ(header_message("{" + x("[2]", "[0,8]") + "," + y("[3]", "[8,11]") + "}", 11), "");
  EXPECT_EQ(header_message("{" + x("[2]", "[8,0]") + "}", 8),
            "tensor x: data_offsets: expected begin <= end, found [8, 0]");
  EXPECT_EQ(header_message("{" + x("[3]", "[0,8]") + "}", 8),
            "tensor x: expected 12 bytes for F32 [3], found 8 (data_offsets [0, 8])");
  EXPECT_EQ(header_message("{" + x("[2]", "[0,8]") + "}", 7),
            "tensor x: expected data_offsets within the file's 7 bytes of data, found [0, 8] (the "
            "file is cut off)");
  EXPECT_THAT(header_message("{" + x("[2]", "[0,8]") + "}", 9),
              AllOf(HasSubstr("expected 8 bytes of data"), HasSubstr("found 9")));
  EXPECT_THAT(header_message("{" + x("[2]", "[0,8]") + "," + y("[3]", "[7,10]") + "}", 10),
              AllOf(HasSubstr("tensor y"), HasSubstr("overlap")));
  EXPECT_THAT(header_message("{" + x("[2]", "[0,8]") + "," + y("[8]", "[0,8]") + "}", 8),
              HasSubstr("overlap"));
  EXPECT_THAT(
      header_message("{" + x("[2]", "[0,8]") + "," + y("[2]", "[9,11]") + "}", 11),
      AllOf(HasSubstr("tensor y"), HasSubstr("expected to begin at 8"), HasSubstr("a hole")));
  EXPECT_THAT(header_message("{" + x("[2]", "[1,9]") + "}", 9), HasSubstr("a hole"));
  EXPECT_THAT(header_message("{" + x("[2]", "[0,8]") + "," + x("[2]", "[8,16]") + "}", 16),
              HasSubstr("header: expected every name once, found \"x\" twice"));
}

TEST(SafetensorsFile, RefusesSizesThatOverflow) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[9223372036854775807,9223372036854775807,4]",
        "[4611686018427387904]", "[9223372036854775807,3,0]"}) {
    EXPECT_THAT(header_message(std::string(R"({"x":{"dtype":"F32","shape":)") + shape +
                                   R"(,"data_offsets":[0,0]}})",
                               0),
                HasSubstr("tensor x: expected a size below 2^63 bytes"))
        << shape;
  }
  EXPECT_EQ(header_message(R"({"x":{"dtype":"F32","shape":[0,1000000],"data_offsets":[0,0]}})", 0),
            "");
}

TEST(SafetensorsFile, RefusesEveryTruncationOfAGoodFile) {
  const TemporaryFolder folder;
  const std::vector<float> floats = {1, 2, 3};
  const std::vector<std::uint8_t> bytes = {4, 5};
  write_safetensors(
      folder / "t.safetensors",
      {entry("a", TensorDtype::kU8, {2}, bytes), entry("b", TensorDtype::kF32, {3}, floats)},
      {{"k", "v"}});
  const std::string whole = read_file(folder / "t.safetensors");
  ASSERT_EQ(open_message(whole), "");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(open_message(whole.substr(0, length)), "") << length;
  }
  EXPECT_NE(open_message(whole + "x"), "");
}

TEST(WriteSafetensors, RoundTripsEveryTypeAlignedToItsElement) {
  const TemporaryFolder folder;
  const std::vector<TensorDtype> dtypes = {
      TensorDtype::kBool,   TensorDtype::kU8,     TensorDtype::kI8,  TensorDtype::kF8E5M2,
      TensorDtype::kF8E4M3, TensorDtype::kF8E8M0, TensorDtype::kI16, TensorDtype::kU16,
      TensorDtype::kF16,    TensorDtype::kBF16,   TensorDtype::kI32, TensorDtype::kU32,
      TensorDtype::kF32,    TensorDtype::kC64,    TensorDtype::kF64, TensorDtype::kI64,
      TensorDtype::kU64};
  std::vector<std::vector<std::uint8_t>> contents;
  std::vector<TensorEntry> tensors;
  for (const TensorDtype dtype : dtypes) {
    std::vector<std::uint8_t> content(3 * dtype_num_bytes(dtype));
    for (std::size_t i = 0; i < content.size(); ++i)
      content[i] = static_cast<std::uint8_t>(i + contents.size());
    contents.push_back(std::move(content));
  }
  for (std::size_t i = 0; i < dtypes.size(); ++i) {
    EXPECT_EQ(parse_dtype(dtype_name(dtypes[i])), dtypes[i]);
    tensors.push_back(entry("t" + std::to_string(i) + "\"\n", dtypes[i], {3, 1}, contents[i]));
  }
  write_safetensors(folder / "t.safetensors", tensors,
                    {{"a \"quoted\" key", "line\nbreak"}, {"empty", ""}});
  const SafetensorsFile file(folder / "t.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorEntry& read = file.tensors()[i];
    EXPECT_EQ(read.name, tensors[i].name);
    EXPECT_EQ(read.dtype, tensors[i].dtype);
    EXPECT_EQ(read.shape, tensors[i].shape);
    EXPECT_EQ(values_of<std::uint8_t>(read), contents[i]);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read.data) % dtype_num_bytes(read.dtype), 0U)
        << read.name;
  }
  EXPECT_EQ(file.metadata().at("a \"quoted\" key"), "line\nbreak");
  EXPECT_EQ(file.metadata().at("empty"), "");
}

TEST(WriteSafetensors, RefusesWhatTheFormatCannotHoldAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  const auto path = folder / "t.safetensors";
  const std::vector<float> values = {1, 2};
  const TensorEntry good = entry("x", TensorDtype::kF32, {2}, values);
  write_safetensors(path, {good});
  const std::string before = read_file(path);
  const auto message = [&](const std::vector<TensorEntry>& tensors,
                           const std::map<std::string, std::string>& metadata) {
    return message_of<Error>([&] { write_safetensors(path, tensors, metadata); });
  };
  EXPECT_THAT(message({good, good}, {}), HasSubstr("tensor x: expected every name once"));
  TensorEntry wrong = good;
  wrong.shape = {3};
  EXPECT_THAT(message({wrong}, {}),
              HasSubstr("tensor x: expected the size of F32 [3], found 8 bytes"));
  wrong.shape = {-1, -2};
  EXPECT_THAT(message({wrong}, {}), HasSubstr("expected the size of"));
  wrong = good;
  wrong.name = "__metadata__";
  EXPECT_THAT(message({wrong}, {}), HasSubstr("other than __metadata__"));
  wrong.name = "\xff";
  EXPECT_THAT(message({wrong}, {}), HasSubstr("UTF-8"));
  EXPECT_THAT(message({good}, {{"k", "\xff"}}), HasSubstr("metadata k: expected UTF-8"));
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(folder.size(), 1U);
}

TEST(WriteSafetensors, WritesTheSameBytesForTheSameArguments) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2};
  const std::vector<TensorEntry> tensors = {entry("z", TensorDtype::kF32, {2}, values),
                                            entry("a", TensorDtype::kF32, {1, 2}, values)};
  write_safetensors(folder / "1", tensors, {{"b", "1"}, {"a", "2"}});
  write_safetensors(folder / "2", tensors, {{"a", "2"}, {"b", "1"}});
  const std::string bytes = read_file(folder / "1");
  EXPECT_EQ(bytes, read_file(folder / "2"));
  EXPECT_LT(bytes.find("\"z\""), bytes.find("\"a\":{\"dtype\""));
}

class SafetensorsFolderTest : public ::testing::Test {
 protected:
  void write_shard(const std::string& name, const std::vector<std::string>& tensors) {
    std::vector<TensorEntry> entries;
    for (const std::string& tensor : tensors)
      entries.push_back(entry(tensor, TensorDtype::kF32, {2}, values_));
    write_safetensors(folder_ / name, entries);
  }
  void write_index(const std::string& weight_map) {
    write_file_atomically(folder_ / "model.safetensors.index.json",
                          R"({"metadata":{"total_size":16},"weight_map":)" + weight_map + "}");
  }
  std::string message() const {
    return message_of<DataError>([this] { SafetensorsFolder{folder_.path()}; });
  }

  const std::vector<float> values_ = {1, 2};
  TemporaryFolder folder_;
};

TEST_F(SafetensorsFolderTest, ReadsASingleFile) {
  write_shard("model.safetensors", {"b", "a"});
  const SafetensorsFolder weights(folder_.path());
  EXPECT_THAT(weights.names(), ElementsAre("b", "a"));
  EXPECT_THAT(values_of<float>(weights.at("a")), ElementsAre(1, 2));
  EXPECT_EQ(weights.mapping("a"), weights.files()[0].mapping());
}

TEST_F(SafetensorsFolderTest, ReadsShardsByTheIndex) {
  write_shard("s2.safetensors", {"c"});
  write_shard("s1.safetensors", {"b", "a"});
  write_shard("unused.safetensors", {"d"});
  write_index(R"({"a":"s1.safetensors","c":"s2.safetensors","b":"s1.safetensors"})");
  const SafetensorsFolder weights(folder_.path());
  EXPECT_THAT(weights.names(), ElementsAre("b", "a", "c"));
  EXPECT_EQ(weights.files().size(), 2U);
  EXPECT_EQ(weights.mapping("c"), weights.files()[1].mapping());
  EXPECT_EQ(weights.find("d"), nullptr);
  EXPECT_EQ(
      message_of<DataError>([&] { weights.at("d"); }),
      folder_.path().string() + ": tensor d: expected in the weights, found 3 others in 2 file(s)");
  EXPECT_THROW(weights.mapping("d"), DataError);
}

TEST_F(SafetensorsFolderTest, SaysWhatIsMissing) {
  EXPECT_THAT(
      message(),
      HasSubstr("expected model.safetensors or model.safetensors.index.json, found neither"));
  write_file_atomically(folder_ / "pytorch_model.bin", "x");
  EXPECT_THAT(message(), HasSubstr("safe_serialization=True"));
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFolder(folder_ / "no"); }),
              HasSubstr("expected a model folder, found nothing there"));
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFolder(folder_ / "pytorch_model.bin"); }),
              HasSubstr("found a file"));
}

TEST_F(SafetensorsFolderTest, NamesAMissingShard) {
  write_shard("s1.safetensors", {"a"});
  write_index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_THAT(message(),
              AllOf(HasSubstr("model.safetensors.index.json: expected shard s2.safetensors"),
                    HasSubstr("no such file")));
}

TEST_F(SafetensorsFolderTest, RefusesAnIndexThatDisagreesWithAShard) {
  write_shard("s1.safetensors", {"a"});
  write_index(R"({"a":"s1.safetensors","b":"s1.safetensors"})");
  EXPECT_THAT(message(),
              HasSubstr("tensor b: expected in s1.safetensors, found no such tensor there"));
  write_shard("s1.safetensors", {"a", "b", "c"});
  EXPECT_THAT(message(), HasSubstr("tensor c: found in s1.safetensors, expected in weight_map"));
  // The same tensor in two shards: the second one is not listed for it.
  write_shard("s1.safetensors", {"a", "b"});
  write_shard("s2.safetensors", {"b", "c"});
  write_index(R"({"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("tensor b: found in s2.safetensors"));
}

TEST_F(SafetensorsFolderTest, RefusesShardsOutsideTheFolder) {
  for (const char* name : {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "",
                           "a\\\\b", "a\\u0000b"}) {
    write_index(std::string(R"({"a":")") + name + "\"}");
    EXPECT_THAT(message(), HasSubstr("tensor a: expected the plain name of a file in the folder"))
        << name;
  }
}

TEST_F(SafetensorsFolderTest, RefusesABrokenIndex) {
  const auto write = [this](const std::string& text) {
    write_file_atomically(folder_ / "model.safetensors.index.json", text);
  };
  for (const char* text : {"", "{", "nonsense", "{\"weight_map\":{\"a\":\"\xff\"}}"}) {
    write(text);
    EXPECT_THAT(message(),
                HasSubstr("model.safetensors.index.json: expected a JSON object, found a mistake"))
        << text;
  }
  for (const char* text : {"[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    write(text);
    EXPECT_THAT(message(), HasSubstr("expected an object \"weight_map\"")) << text;
  }
  write_index(R"({"a":3})");
  EXPECT_THAT(message(), HasSubstr("tensor a: expected the name of a file, found 3"));
  write_index(R"({"a":"s1.safetensors","a":"s2.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("found \"a\" twice"));
}

}  // namespace
}  // namespace clara
