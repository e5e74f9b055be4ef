// Files of torch.save: what PyTorch wrote is read to the last bit, what is written is read again,
// and no hostile archive or pickle gets further than a message. Fixtures: record_torch_files.py.
#include "clara/common/torch_file.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <utility>

#include "common/tensor_pickle.h"
#include "common/zip_archive.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kFixtures = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/torch_files";

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

std::string open_message(const fs::path& path) {
  return message_of([&] { const TorchFile file(path); });
}

/// Message of a file of these bytes.
std::string bytes_message(const std::string& bytes) {
  const TemporaryFolder folder;
  std::ofstream(folder / "t.pth", std::ios::binary) << bytes;
  return open_message(folder / "t.pth");
}

double number_at(const TensorEntry& entry, std::size_t index) {
  const auto read = [&](auto zero) {
    std::memcpy(&zero, entry.data + index * sizeof zero, sizeof zero);
    return static_cast<double>(zero);
  };
  switch (entry.dtype) {
    case TensorDtype::kF32:
      return read(float{});
    case TensorDtype::kF64:
      return read(double{});
    case TensorDtype::kI64:
      return read(std::int64_t{});
    case TensorDtype::kI32:
      return read(std::int32_t{});
    case TensorDtype::kI16:
      return read(std::int16_t{});
    case TensorDtype::kI8:
      return read(std::int8_t{});
    case TensorDtype::kU8:
    case TensorDtype::kBool:
      return read(std::uint8_t{});
    case TensorDtype::kBF16: {
      std::uint16_t high = 0;
      std::memcpy(&high, entry.data + index * 2, 2);
      const std::uint32_t bits = std::uint32_t{high} << 16;
      float value = 0;
      std::memcpy(&value, &bits, 4);
      return value;
    }
    case TensorDtype::kF16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, entry.data + index * 2, 2);
      const double mantissa = (bits & 0x3FF) / 1024.0;
      const int exponent = (bits >> 10) & 31;
      const double size =
          exponent == 0 ? std::ldexp(mantissa, -14) : std::ldexp(1 + mantissa, exponent - 15);
      return (bits & 0x8000) != 0 ? -size : size;
    }
    default:
      ADD_FAILURE() << "a type that the fixture does not have";
      return 0;
  }
}

TEST(TorchFile, ReadsWhatPyTorchWrote) {
  const std::map<std::string, TensorDtype> dtypes = {
      {"float32", TensorDtype::kF32}, {"bfloat16", TensorDtype::kBF16},
      {"float16", TensorDtype::kF16}, {"float64", TensorDtype::kF64},
      {"int64", TensorDtype::kI64},   {"int32", TensorDtype::kI32},
      {"int16", TensorDtype::kI16},   {"int8", TensorDtype::kI8},
      {"uint8", TensorDtype::kU8},    {"bool", TensorDtype::kBool}};
  const auto expected = nlohmann::ordered_json::parse(read_file(kFixtures / "expected.json"));
  std::size_t num_tensors = 0;
  for (const auto& [file_name, groups] : expected.items()) {
    const TorchFile file(kFixtures / file_name);
    ASSERT_EQ(file.groups().size(), groups.size()) << file_name;
    for (const auto& [group_name, tensors] : groups.items()) {
      const TorchFileGroup* group = file.find(group_name);
      ASSERT_NE(group, nullptr) << group_name;
      ASSERT_EQ(group->tensors.size(), tensors.size()) << group_name;
      std::size_t place = 0;
      for (const auto& [name, tensor] : tensors.items()) {
        const TensorEntry& entry = group->tensors[place++];
        EXPECT_EQ(entry.name, name) << "the order is the file's";
        EXPECT_EQ(entry.dtype, dtypes.at(tensor["dtype"].get<std::string>())) << name;
        EXPECT_EQ(entry.shape, tensor["shape"].get<std::vector<std::int64_t>>()) << name;
        const auto values = tensor["values"].get<std::vector<double>>();
        ASSERT_EQ(entry.num_bytes, values.size() * dtype_num_bytes(entry.dtype)) << name;
        for (std::size_t i = 0; i < values.size(); ++i)
          EXPECT_EQ(number_at(entry, i), values[i]) << name << " " << i;
        ++num_tensors;
      }
    }
  }
  EXPECT_EQ(num_tensors, 17U * 2 + 2);
}

TEST(TorchFile, ItsDataLiveAsLongAsTheMapping) {
  std::shared_ptr<const void> mapping;
  TensorEntry entry;
  {
    const TorchFile file(kFixtures / "flat.pth");
    mapping = file.mapping();
    entry = *file.groups()[0].find("transposed");
  }
  EXPECT_EQ(number_at(entry, 1), -1.5) << "element [0, 1] of the transposed is [1, 0]: 6 - 12, / 4";
}

/// Entries over `values`, which must live on.
TensorEntry entry_of(const std::string& name, const std::vector<float>& values,
                     std::vector<std::int64_t> shape) {
  return {name, TensorDtype::kF32, std::move(shape),
          reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(float)};
}

TEST(TorchFile, ReadsWhatItWrote) {
  const TemporaryFolder folder;
  const std::vector<float> six = {1, 2, 3, 4, 5, 6}, none;
  const std::vector<TorchFileGroup> groups = {
      {"encoder_adapter", {entry_of("a", six, {2, 3}), entry_of("empty", none, {0, 7})}},
      {"decoder_adapter", {entry_of("a", six, {6})}},
      {"no tensors", {}}};
  write_torch_file(folder / "adapters.pth", groups);
  const TorchFile file(folder / "adapters.pth");
  ASSERT_EQ(file.groups().size(), 3U);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    EXPECT_EQ(file.groups()[g].name, groups[g].name);
    ASSERT_EQ(file.groups()[g].tensors.size(), groups[g].tensors.size());
    for (std::size_t t = 0; t < groups[g].tensors.size(); ++t) {
      const TensorEntry &written = groups[g].tensors[t], &read = file.groups()[g].tensors[t];
      EXPECT_EQ(read.name, written.name);
      EXPECT_EQ(read.dtype, written.dtype);
      EXPECT_EQ(read.shape, written.shape);
      ASSERT_EQ(read.num_bytes, written.num_bytes);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(read.data), read.num_bytes),
                std::string(reinterpret_cast<const char*>(written.data), written.num_bytes));
    }
  }
  write_torch_file(folder / "flat.pth", {{"", {entry_of("w", six, {3, 2})}}});
  EXPECT_EQ(TorchFile(folder / "flat.pth").groups()[0].tensors[0].shape,
            (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(TorchFile(folder / "flat.pth").groups()[0].name, "");
  const std::string first = read_file(folder / "flat.pth");
  write_torch_file(folder / "flat.pth", {{"", {entry_of("w", six, {3, 2})}}});
  EXPECT_EQ(read_file(folder / "flat.pth"), first) << "the same bytes each time";
}

TEST(TorchFile, RefusesToWriteWhatItCouldNotRead) {
  const TemporaryFolder folder;
  const std::vector<float> two = {1, 2};
  const auto message = [&](const std::vector<TorchFileGroup>& groups) -> std::string {
    try {
      write_torch_file(folder / "x.pth", groups);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message({{"", {entry_of("w", two, {2}), entry_of("w", two, {2})}}}),
              HasSubstr("name of its own"));
  EXPECT_THAT(message({{"a", {}}, {"a", {}}}), HasSubstr("name of its own"));
  EXPECT_THAT(message({{"", {}}, {"a", {}}}), HasSubstr("name of its own"));
  EXPECT_THAT(message({{"", {entry_of("w", two, {3})}}}),
              AllOf(HasSubstr("tensor w"), HasSubstr("[3]"), HasSubstr("8 bytes")));
  EXPECT_THAT(message({{"", {entry_of("w", two, {-2, -1})}}}), HasSubstr("[-2, -1]"));
  TensorEntry unsigned_entry = entry_of("w", two, {2});
  unsigned_entry.dtype = TensorDtype::kU32;
  EXPECT_THAT(message({{"", {unsigned_entry}}}), HasSubstr("no storage of type U32"));
  EXPECT_EQ(folder.size(), 0U) << "nothing is left of a file that was not written";
}

// ---- hostile pickles

void put(std::string& out, std::uint64_t value, std::size_t num_bytes) {
  for (std::size_t i = 0; i < num_bytes; ++i)
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

std::string text(const std::string& value) {
  std::string out = "X";
  put(out, value.size(), 4);
  return out + value;
}

std::string integer(std::int64_t value) {
  std::string out = "\x8a\x08";
  put(out, static_cast<std::uint64_t>(value), 8);
  return out;
}

std::string numbers(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += integer(value);
  return out + "t";
}

/// What a hostile file may lie about.
struct TensorLie {
  std::string storage_type = "ctorch\nFloatStorage\n";
  std::string storage = "0";
  std::int64_t storage_elements = 6;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape = {2, 3}, strides = {3, 1};
};

std::string tensor(const TensorLie& lie = {}) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + lie.storage_type +
         text(lie.storage) + text("cpu") + integer(lie.storage_elements) + "tQ" +
         integer(lie.offset) + numbers(lie.shape) + numbers(lie.strides) +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

const std::string kStart = "\x80\x02";

std::string dict_of(const std::string& items) { return "}(" + items + "u"; }

/// Message of a file with this pickle and one storage of six floats.
std::string pickle_message(const std::string& pickle) {
  const TemporaryFolder folder;
  ZipWriter writer(folder / "t.pth");
  writer.add("t/data.pkl", pickle);
  writer.add("t/data/0", std::string(24, '\1'));
  writer.commit();
  return open_message(folder / "t.pth");
}

TEST(TensorPickle, AcceptsTheTensorsTheseTestsBuild) {
  EXPECT_EQ(pickle_message(kStart + dict_of(text("w") + tensor()) + "."), "no error");
  EXPECT_EQ(pickle_message(kStart + dict_of(text("a") + dict_of(text("w") + tensor())) + "."),
            "no error");
}

TEST(TensorPickle, CallsNothing) {
  const auto call = [](const std::string& module, const std::string& name) {
    return kStart + "c" + module + "\n" + name + "\n(" + text("touch /tmp/hacked") + "tR.";
  };
  for (const auto& [module, name] :
       std::map<std::string, std::string>{{"os", "system"},
                                          {"posix", "system"},
                                          {"builtins", "eval"},
                                          {"__builtin__", "exec"},
                                          {"subprocess", "Popen"},
                                          {"torch._utils", "_rebuild_tensor_v3"},
                                          {"torch", "load"},
                                          {"torch.storage", "UntypedStorage"},
                                          {"collections", "OrderedDict.update"},
                                          {"torch._utils _rebuild_tensor_v2", ""},
                                          {"numpy.core.multiarray", "_reconstruct"}}) {
    EXPECT_THAT(pickle_message(call(module, name)),
                AllOf(HasSubstr("names " + module + "." + name), HasSubstr("refused"),
                      HasSubstr("nothing of the file was run")));
  }
  // A tensor's own constructor gets no further with other arguments, nor a storage type as
  // callable.
  EXPECT_THAT(pickle_message(call("torch._utils", "_rebuild_tensor_v2")),
              HasSubstr("expected 6 arguments, found 1"));
  EXPECT_THAT(pickle_message(call("torch", "FloatStorage")), HasSubstr("makes no tensor"));
  EXPECT_THAT(pickle_message(call("collections", "OrderedDict")), HasSubstr("no arguments"));
}

TEST(TensorPickle, RefusesTheOpcodesOfCode) {
  const std::map<std::string, std::string> opcodes = {
      {"(" + text("id") + "ios\nsystem\n.", "INST"},
      {"(cos\nsystem\n" + text("id") + "o.", "names os.system"},
      {"(" + text("id") + "o.", "OBJ"},
      {std::string("\x82\x01.", 3), "EXT1"},
      {std::string("\x83\x01\x00.", 4), "EXT2"},
      {std::string("\x84\x01\x00\x00\x00.", 6), "EXT4"},
      {"\x81.", "NEWOBJ"},
      {"\x92.", "NEWOBJ_EX"},
      {text("os") + text("system") + "\x93.", "STACK_GLOBAL"},
      {"P0\n.", "PERSID"},
      {"S'x'\n.", "STRING"},
      {"]" + text("x") + "a.", "EMPTY_LIST"},
      {"2.", "DUP"},
      {"\x95.", "FRAME"},
      {"\xff.", "0xff"}};
  for (const auto& [pickle, name] : opcodes)
    EXPECT_THAT(pickle_message(kStart + pickle), AllOf(HasSubstr(name), HasSubstr("refused")));
  EXPECT_THAT(pickle_message("\x80\x04."), HasSubstr("protocol 4"));
  EXPECT_THAT(pickle_message("}."), HasSubstr("protocol 2"));
  EXPECT_THAT(pickle_message(""), HasSubstr("protocol 2"));
  // BUILD sets attributes: only the _metadata of a state_dict.
  EXPECT_THAT(pickle_message(kStart + "}" + dict_of(text("__class__") + text("x")) + "b."),
              HasSubstr("_metadata"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("w") + tensor()) +
                             dict_of(text("_metadata") + "}") + "b."),
              "no error");
}

TEST(TensorPickle, RefusesLiesAboutTensors) {
  const auto message = [](const TensorLie& lie) {
    return pickle_message(kStart + dict_of(text("w") + tensor(lie)) + ".");
  };
  constexpr std::int64_t kHuge = INT64_MAX;
  const auto inside = HasSubstr("within the 6 elements of its storage");
  EXPECT_THAT(message({.shape = {2, 4}, .strides = {4, 1}}), AllOf(HasSubstr("tensor w"), inside));
  EXPECT_THAT(message({.offset = 1}), inside);
  EXPECT_THAT(message({.offset = -1}), inside);
  EXPECT_THAT(message({.offset = kHuge}), inside);
  EXPECT_THAT(message({.shape = {-2, -3}}), inside);
  EXPECT_THAT(message({.shape = {2, -3}}), inside);
  EXPECT_THAT(message({.strides = {-3, 1}}), inside);
  EXPECT_THAT(message({.strides = {kHuge, kHuge}}), inside);
  EXPECT_THAT(message({.strides = {4, 1}}), inside);
  EXPECT_THAT(message({.shape = {kHuge, kHuge}, .strides = {0, 0}}), inside);
  EXPECT_THAT(message({.shape = {std::int64_t{1} << 40}, .strides = {0}}), inside);
  EXPECT_THAT(
      message({.shape = {std::int64_t{1} << 32, std::int64_t{1} << 32, 0}, .strides = {1, 1, 1}}),
      inside)
      << "the product overflows on the way to zero";
  EXPECT_THAT(message({.strides = {1}}), HasSubstr("as many strides as sizes"));
  EXPECT_THAT(message({.storage = "1"}), HasSubstr("storage t/data/1"));
  EXPECT_THAT(message({.storage = "../0"}), HasSubstr("expected a number"));
  EXPECT_THAT(message({.storage_elements = 5}), HasSubstr("found 24 bytes"));
  EXPECT_THAT(message({.storage_elements = -6}), HasSubstr("found 24 bytes"));
  EXPECT_THAT(message({.storage_elements = kHuge}), HasSubstr("found 24 bytes"));
  EXPECT_THAT(message({.storage_type = "ctorch\nDoubleStorage\n"}), HasSubstr("of F64"));
  EXPECT_THAT(message({.storage_type = "ctorch\nComplexFloatStorage\n"}),
              HasSubstr("torch.ComplexFloatStorage"));
  EXPECT_THAT(message({.storage_type = "ccollections\nOrderedDict\n"}),
              HasSubstr("type of a storage"));
  EXPECT_THAT(message({.shape = std::vector<std::int64_t>(17, 1),
                       .strides = std::vector<std::int64_t>(17, 1)}),
              HasSubstr("at most 16 dimensions"));
  // A size of one lets the stride be any number; the order of the others still counts.
  EXPECT_EQ(message({.shape = {1, 3, 2}, .strides = {kHuge, 1, 3}}), "no error");
}

TEST(TensorPickle, RefusesWhatIsNoDictOfTensors) {
  EXPECT_THAT(pickle_message(kStart + "K\x01."), HasSubstr("found a number"));
  EXPECT_THAT(pickle_message(kStart + tensor() + "."), HasSubstr("found a tensor"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("w") + "N") + "."),
              AllOf(HasSubstr("w: expected a tensor"), HasSubstr("found None")));
  EXPECT_THAT(pickle_message(kStart + dict_of("K\x01" + tensor()) + "."),
              HasSubstr("keys that are texts"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("w") + tensor() + text("w") + tensor()) + "."),
              HasSubstr("found w twice"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("a") + "}" + text("a") + "}") + "."),
              HasSubstr("found a twice"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("a") + dict_of(text("b") + "}")) + "."),
              AllOf(HasSubstr("a: b"), HasSubstr("deeper")));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("a") + "}" + text("b") + tensor()) + "."),
              HasSubstr("b: expected a dict of tensors"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text("\xff") + tensor()) + "."),
              HasSubstr("no text"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text(std::string(2000, 'x')) + tensor()) + "."),
              HasSubstr("1024 bytes"));
  EXPECT_THAT(pickle_message(kStart + dict_of(text(std::string("a\0b", 3)) + tensor()) + "."),
              HasSubstr("expected a key"));
  EXPECT_THAT(pickle_message(kStart + "}."), HasSubstr("t/data/0: belongs to no tensor"));
  EXPECT_THAT(pickle_message(kStart + "}.}"), HasSubstr("1 more bytes"));
  EXPECT_THAT(pickle_message(kStart + "}}."), HasSubstr("one value in the end"));
}

TEST(TensorPickle, RefusesCirclesDepthAndBombs) {
  // d = {}; d["a"] = d
  EXPECT_THAT(pickle_message(kStart + "}q\x01" + text("a") + "h\x01s."), HasSubstr("circle"));
  // a tuple that holds itself through a dict, as a key
  EXPECT_THAT(pickle_message(kStart + "}q\x01(h\x01t" + tensor() + "s."),
              HasSubstr("keys that are texts"));
  std::string deep = kStart;
  for (int i = 0; i < 300'000; ++i) deep += ")\x85";
  EXPECT_THAT(pickle_message(deep + "."), HasSubstr("one value in the end"));
  std::string nested = kStart + ")";
  for (int i = 0; i < 300'000; ++i) nested += "\x85";
  EXPECT_THAT(pickle_message(nested + "."), HasSubstr("found a tuple"));
  // Each line doubles what the one before refers to: 2^60 values if anyone walked them.
  std::string bomb = kStart + ")q\x01";
  for (int i = 0; i < 60; ++i) bomb += "h\x01h\x01\x86q\x01";
  EXPECT_THAT(pickle_message(bomb + "."), HasSubstr("one value in the end, found 61"));
  std::string doubling = kStart + ")";
  doubling +=
      "q\x01"
      "0";
  EXPECT_THAT(pickle_message(doubling), HasSubstr("POP"));
  EXPECT_THAT(pickle_message(kStart + std::string(1'100'000, ')') + "."),
              HasSubstr("at most 1048576 values"));
  std::string gets = kStart + ")q\x01";
  for (int i = 0; i < 1'100'000; ++i) gets += "h\x01";
  EXPECT_THAT(pickle_message(gets + "."), HasSubstr("at most 1048576 values"));
  // One dict under many names: its tensors count each time.
  std::string shared =
      kStart + dict_of([&] {
        std::string items;
        for (int i = 0; i < 2000; ++i)
          items += text("w" + std::to_string(i)) + (i == 0 ? tensor() + "q\x02" : "h\x02");
        return items;
      }());
  shared += "q\x03" + std::string("\x85");
  EXPECT_THAT(pickle_message(shared + "."), HasSubstr("found a tuple"));
  std::string many =
      kStart + dict_of([&] {
        std::string inner;
        for (int i = 0; i < 2000; ++i)
          inner += text("w" + std::to_string(i)) + (i == 0 ? tensor() + "q\x02" : "h\x02");
        std::string items;
        for (int i = 0; i < 1000; ++i)
          items += text("g" + std::to_string(i)) + (i == 0 ? dict_of(inner) + "q\x03" : "h\x03");
        return items;
      }());
  EXPECT_THAT(pickle_message(many + "."), HasSubstr("at most 1048576 tensors"));
  EXPECT_THAT(pickle_message(kStart + "h\x07."), HasSubstr("refers to value 7"));
  EXPECT_THAT(pickle_message(kStart + "t."), HasSubstr("expected a mark"));
  EXPECT_THAT(pickle_message(kStart + "R."), HasSubstr("expected a value"));
  EXPECT_THAT(pickle_message(kStart + "(R."), HasSubstr("expected a value"));
  EXPECT_THAT(pickle_message(kStart + "X\xff\xff\xff\xff."), HasSubstr("cut off"));
  EXPECT_THAT(pickle_message(kStart + "\x8a\x09" + std::string(9, '\1') + "."),
              HasSubstr("below 2^63"));
}

// ---- hostile archives

std::string small_file() {
  const TemporaryFolder folder;
  const std::vector<float> six = {1, 2, 3, 4, 5, 6};
  write_torch_file(folder / "t.pth", {{"", {entry_of("w", six, {2, 3})}}});
  return read_file(folder / "t.pth");
}

TEST(ZipArchive, RefusesEveryCutOfAFile) {
  for (const std::string& bytes : {small_file(), read_file(kFixtures / "flat.pth")}) {
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      // Bytes of their own, so that a sanitiser sees a read behind the last one.
      const std::vector<char> cut(bytes.begin(),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(length));
      const MappedFile file{nullptr, reinterpret_cast<const std::byte*>(cut.data()), length};
      ASSERT_NE(message_of([&] { const ZipArchive archive("t.pth", file); }), "no error")
          << length << " of " << bytes.size();
    }
    EXPECT_THAT(bytes_message(bytes + "x"), HasSubstr("end record"));
    EXPECT_EQ(bytes_message(bytes), "no error");
  }
}

TEST(ZipArchive, RefusesADamagedByteOfAnythingItUses) {
  const std::string bytes = small_file();
  std::string damaged = bytes;
  damaged[bytes.find(std::string("\0\0\x80\x3f", 4))] ^= 1;  // 1.0f
  EXPECT_THAT(bytes_message(damaged), AllOf(HasSubstr("t/data/0"), HasSubstr("checksum")));
  damaged = bytes;
  damaged[bytes.find("_rebuild")] ^= 1;
  EXPECT_THAT(bytes_message(damaged), AllOf(HasSubstr("data.pkl"), HasSubstr("checksum")));
}

/// A file whose directory was changed at the first place of `name` there.
std::string with_directory(const std::function<void(std::string&, std::size_t)>& change) {
  std::string bytes = small_file();
  change(bytes, bytes.find("PK\1\2"));
  return bytes_message(bytes);
}

TEST(ZipArchive, RefusesLiesOfTheDirectory) {
  const auto set = [](std::size_t field, std::uint64_t value, std::size_t num_bytes) {
    return with_directory([=](std::string& bytes, std::size_t directory) {
      for (std::size_t i = 0; i < num_bytes; ++i)
        bytes[directory + field + i] = static_cast<char>((value >> (8 * i)) & 0xFF);
    });
  };
  EXPECT_THAT(set(10, 8, 2), AllOf(HasSubstr("compressed"), HasSubstr("method 8")));
  EXPECT_THAT(set(8, 1, 2), HasSubstr("encrypted"));
  EXPECT_THAT(set(34, 1, 2), HasSubstr("another part"));
  EXPECT_THAT(set(20, 7, 4), HasSubstr("as many stored bytes as bytes"));
  EXPECT_THAT(set(42, 0x7FFFFFFF, 4), HasSubstr("before the directory"));
  EXPECT_THAT(set(42, 1, 4), HasSubstr("own header"));
  EXPECT_THAT(set(42, 0xFFFFFFFF, 4), HasSubstr("zip64"));
  EXPECT_THAT(set(20, 0x7FFFFFFF7FFFFFFF, 8), HasSubstr("before the directory"));
  EXPECT_THAT(set(28, 0xFFFF, 2), HasSubstr("behind the directory"));
  EXPECT_THAT(set(0, 0, 4), HasSubstr("expected its header"));
  EXPECT_THAT(with_directory([](std::string& bytes, std::size_t) {
                bytes[bytes.size() - 2] = 1;  // length of a comment
              }),
              HasSubstr("comment"));
  EXPECT_THAT(with_directory([](std::string& bytes, std::size_t) {
                bytes[bytes.size() - 22 + 4] = 1;  // number of this disk
              }),
              HasSubstr("several"));
  EXPECT_THAT(with_directory([](std::string& bytes, std::size_t) {
                bytes[bytes.size() - 22 + 8] = bytes[bytes.size() - 22 + 10] = 3;  // entries
              }),
              HasSubstr("fill the directory"));
  EXPECT_THAT(with_directory([](std::string& bytes, std::size_t directory) {
                bytes[bytes.size() - 22 + 16] = static_cast<char>((directory - 1) & 0xFF);
              }),
              HasSubstr("expected the directory to end"));
}

TEST(ZipArchive, RefusesNamesThatLeadElsewhereAndNamesTwice) {
  const auto message = [](const std::vector<std::string>& names) {
    const TemporaryFolder folder;
    ZipWriter writer(folder / "t.pth");
    for (const std::string& name : names) writer.add(name, "x");
    writer.commit();
    return open_message(folder / "t.pth");
  };
  for (const char* name :
       {"../t/data.pkl", "/etc/passwd", "t/../../x", "t/./x", "t//x", "t/folder/"})
    EXPECT_THAT(message({name}), HasSubstr("leads out of the archive")) << name;
  EXPECT_THAT(message({"t\\..\\x"}), HasSubstr("backslash"));
  EXPECT_THAT(message({std::string("t/a\0b", 5)}), HasSubstr("no text"));
  EXPECT_THAT(message({"t/\xff"}), HasSubstr("no text"));
  EXPECT_THAT(message({""}), HasSubstr("empty name"));
  EXPECT_THAT(message({"t/" + std::string(2000, 'x')}), HasSubstr("2002 bytes"));
  EXPECT_THAT(message({"t/version", "t/version"}), HasSubstr("found it twice"));
  EXPECT_THAT(message({"t/version", "u/data.pkl"}), HasSubstr("in the folder t/"));
  EXPECT_THAT(message({"data.pkl"}), HasSubstr("in one folder"));
  EXPECT_THAT(message({"t/version"}), HasSubstr("data.pkl"));
  EXPECT_THAT(message({"t/code/__torch__.py"}), HasSubstr("TorchScript"));
  EXPECT_THAT(message({"t/constants.pkl"}), HasSubstr("TorchScript"));
}

TEST(ZipArchive, RefusesEntriesThatOverlap) {
  // Two entries of the directory that point to the same bytes, names of one length.
  const TemporaryFolder folder;
  ZipWriter writer(folder / "t.pth");
  writer.add("t/a", std::string(200, 'x'));
  writer.add("t/b", "y");
  writer.commit();
  std::string bytes = read_file(folder / "t.pth");
  // The second local header, moved into the first entry's data.
  const std::size_t second = bytes.find("PK\3\4", 1), directory = bytes.find("PK\1\2", second);
  const std::size_t entry = bytes.find("PK\1\2", directory + 1);
  const std::string local = bytes.substr(second, 64);
  bytes.replace(80, local.size(), local);
  for (std::size_t i = 0; i < 4; ++i) bytes[entry + 42 + i] = static_cast<char>(i == 0 ? 80 : 0);
  EXPECT_THAT(bytes_message(bytes), AllOf(HasSubstr("t/b"), HasSubstr("overlaps entry t/a")));
}

TEST(ZipArchive, ReadsAndWritesZip64) {
  const TemporaryFolder folder;
  ZipWriter writer(folder / "t.pth", /*zip64_from=*/10);
  writer.add("t/short", "x");
  writer.add("t/data/0", std::string(24, '\1'));
  writer.add("t/data.pkl", kStart + dict_of(text("w") + tensor()) + ".");
  writer.commit();
  const ZipArchive archive(folder / "t.pth", map_file(folder / "t.pth"));
  ASSERT_EQ(archive.entries().size(), 3U);
  for (const ZipEntry& entry : archive.entries()) {
    EXPECT_NO_THROW(archive.check_crc(entry));
    EXPECT_EQ((entry.data - archive.file().data) % 64, 0) << "data are aligned for mapped tensors";
  }
  EXPECT_EQ(archive.find("t/data/0")->num_bytes, 24U);
  EXPECT_EQ(open_message(folder / "t.pth"), "no error");
  const std::string bytes = read_file(folder / "t.pth");
  for (std::size_t length = 0; length < bytes.size(); length += 7)
    ASSERT_NE(bytes_message(bytes.substr(0, length)), "no error") << length;
  // A zip64 size beyond the file.
  std::string lie = bytes;
  const std::size_t entry = lie.find("t/data/0", lie.find("PK\1\2"));
  lie[entry + 8 + 4 + 6] = 1;  // tag and length of the field come first; bit 48 of the size
  lie[entry + 8 + 4 + 14] = 1;
  EXPECT_THAT(bytes_message(lie), HasSubstr("before the directory"));
}

TEST(TorchFile, RefusesOtherFormatsByName) {
  EXPECT_THAT(open_message(kFixtures / "before_1_6.pth"), HasSubstr("before PyTorch 1.6"));
  EXPECT_THAT(bytes_message(kStart + "}."), HasSubstr("bare pickle"));
  EXPECT_THAT(bytes_message("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS"));
  EXPECT_THAT(bytes_message(""), HasSubstr("zip archive"));
  EXPECT_THAT(bytes_message("{}"), HasSubstr("zip archive"));
  EXPECT_THAT(open_message(kFixtures), HasSubstr("found a folder"));
  EXPECT_THAT(open_message(kFixtures / "absent.pth"), HasSubstr("cannot read"));
  const TemporaryFolder folder;
  ZipWriter writer(folder / "t.pth");
  writer.add("t/data.pkl", kStart + "}.");
  writer.add("t/byteorder", "big");
  writer.commit();
  EXPECT_THAT(open_message(folder / "t.pth"), HasSubstr("little-endian"));
}

/// Whatever is done to a file, opening it ends well or in a DataError. Run under sanitisers, this
/// shows that nothing is read beyond the file.
TEST(TorchFile, SurvivesRandomMutations) {
  SeedStream stream(20251);
  const auto below = [&](std::size_t limit) {
    return static_cast<std::size_t>(stream.below(limit));
  };
  const auto mutate = [&](std::string bytes) {
    const std::size_t num_changes = 1 + below(4);
    for (std::size_t c = 0; c < num_changes && !bytes.empty(); ++c) {
      const std::size_t at = below(bytes.size());
      switch (below(5)) {
        case 0:
          bytes[at] = static_cast<char>(below(256));
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
          break;
        case 2:
          bytes.erase(at, 1 + below(8));
          break;
        case 3:
          bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(24)));
          break;
        default:
          for (std::size_t i = at; i < std::min(at + 1 + below(8), bytes.size()); ++i)
            bytes[i] = below(2) == 0 ? '\xff' : '\0';
      }
    }
    return bytes;
  };
  const TemporaryFolder folder;
  const std::string pickle = [] {
    const TorchFile file(kFixtures / "nested.pth");
    const ZipArchive archive(file.path(), map_file(file.path()));
    const ZipEntry* entry = archive.find("nested/data.pkl");
    return std::string(reinterpret_cast<const char*>(entry->data), entry->num_bytes);
  }();
  std::map<std::string, int> outcomes;
  const auto run = [&](const std::function<void()>& action) {
    ++outcomes[message_of(action) == "no error" ? "read" : "refused"];
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string mutated = mutate(pickle);
    run([&] { (void)read_tensor_pickle(mutated, ""); });
  }
  const std::string original = read_file(kFixtures / "nested.pth");
  for (int i = 0; i < 3'000; ++i) {
    const std::string mutated = mutate(original);
    std::ofstream(folder / "t.pth", std::ios::binary) << mutated;
    run([&] { const TorchFile file(folder / "t.pth"); });
  }
  // A mutated pickle in a sound archive gets past the checksums.
  for (int i = 0; i < 200; ++i) {
    const std::string mutated = mutate(pickle);
    {
      const ZipArchive archive(kFixtures / "nested.pth", map_file(kFixtures / "nested.pth"));
      ZipWriter writer(folder / "t.pth");
      for (const ZipEntry& entry : archive.entries()) {
        if (entry.name == "nested/data.pkl") {
          writer.add(entry.name, mutated);
        } else {
          writer.add(entry.name, entry.data, entry.num_bytes);
        }
      }
      writer.commit();
    }
    run([&] {
      const TorchFile file(folder / "t.pth");
      // Every byte that an entry claims can be read.
      std::uint64_t sum = 0;
      for (const TorchFileGroup& group : file.groups()) {
        for (const TensorEntry& tensor : group.tensors) {
          for (std::size_t b = 0; b < tensor.num_bytes; ++b)
            sum += static_cast<std::uint64_t>(tensor.data[b]);
        }
      }
      EXPECT_GT(sum, 0U);
    });
  }
  EXPECT_GT(outcomes["read"], 100) << "some mutations change names or values alone";
  EXPECT_GT(outcomes["refused"], 10'000);
}

}  // namespace
}  // namespace clara
