// A stack machine over plain values. Values live in one list and refer to each other by index: so a
// cycle costs nothing, and nothing is ever walked recursively.
#include "common/tensor_pickle.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::size_t kMaxPickleBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxValues = std::size_t{1} << 20;
constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::size_t kMaxDimensions = 16;

constexpr std::string_view kOrderedDict = "collections OrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";

struct StorageType {
  std::string_view name;
  TensorDtype dtype;
};
constexpr std::array<StorageType, 10> kStorageTypes{{
    {"torch FloatStorage", TensorDtype::kF32},
    {"torch BFloat16Storage", TensorDtype::kBF16},
    {"torch HalfStorage", TensorDtype::kF16},
    {"torch DoubleStorage", TensorDtype::kF64},
    {"torch LongStorage", TensorDtype::kI64},
    {"torch IntStorage", TensorDtype::kI32},
    {"torch ShortStorage", TensorDtype::kI16},
    {"torch CharStorage", TensorDtype::kI8},
    {"torch ByteStorage", TensorDtype::kU8},
    {"torch BoolStorage", TensorDtype::kBool},
}};

enum Opcode : unsigned char {
  kProto = 0x80,
  kStop = '.',
  kMark = '(',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kSetItem = 's',
  kSetItems = 'u',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinUnicode = 'X',
  kGlobal = 'c',
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kBinGet = 'h',
  kLongBinGet = 'j',
};

struct OpcodeName {
  unsigned char code;
  const char* name;
};
/// Opcodes of pickle that are refused, by the names that Python's pickletools gives them.
constexpr OpcodeName kRefused[] = {
    {'i', "INST"},
    {'o', "OBJ"},
    {0x81, "NEWOBJ"},
    {0x92, "NEWOBJ_EX"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x93, "STACK_GLOBAL"},
    {'P', "PERSID"},
    {'S', "STRING"},
    {'T', "BINSTRING"},
    {'U', "SHORT_BINSTRING"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {0x8e, "BINBYTES8"},
    {0x96, "BYTEARRAY8"},
    {'V', "UNICODE"},
    {0x8c, "SHORT_BINUNICODE"},
    {0x8d, "BINUNICODE8"},
    {'I', "INT"},
    {'L', "LONG"},
    {0x8b, "LONG4"},
    {'F', "FLOAT"},
    {'G', "BINFLOAT"},
    {']', "EMPTY_LIST"},
    {'l', "LIST"},
    {'a', "APPEND"},
    {'e', "APPENDS"},
    {'d', "DICT"},
    {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {'p', "PUT"},
    {'g', "GET"},
    {0x94, "MEMOIZE"},
    {0x95, "FRAME"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
};

std::string opcode_name(unsigned char code) {
  for (const OpcodeName& row : kRefused) {
    if (row.code == code) return row.name;
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  return std::string("0x") + kDigits[code >> 4] + kDigits[code & 15];
}

enum class Kind { kMark, kNone, kBool, kInt, kText, kGlobal, kTuple, kDict, kStorage, kTensor };

std::string_view kind_name(Kind kind) {
  constexpr std::string_view kNames[] = {"a mark",    "None",    "a truth value", "a number",
                                         "a text",    "a name",  "a tuple",       "a dict",
                                         "a storage", "a tensor"};
  return kNames[static_cast<std::size_t>(kind)];
}

using Index = std::uint32_t;

struct Value {
  Kind kind = Kind::kNone;
  std::int64_t number = 0;   // int, bool; tensor, storage: place in tensors_
  std::string_view text;     // text; global: "module name"
  std::vector<Index> items;  // tuple; dict: key, value, key, value, …
};

/// A text of the pickle for a message: short, and only if it is text.
std::string shown(std::string_view text) {
  if (find_invalid_utf8(text)) return "bytes that are no text";
  constexpr std::size_t kMaxShown = 120;
  std::string result;
  for (const char c : text.substr(0, kMaxShown))
    result.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
  // A cut must not end within a character.
  while (find_invalid_utf8(result)) result.pop_back();
  return result + (text.size() > kMaxShown ? "…" : "");
}

class PickleMachine {
 public:
  PickleMachine(std::string_view pickle, const std::string& place)
      : pickle_(pickle), place_(place) {}

  std::vector<PickledGroup> run() {
    if (pickle_.size() > kMaxPickleBytes) {
      fail("expected at most " + std::to_string(kMaxPickleBytes) + " bytes of pickle, found " +
           std::to_string(pickle_.size()));
    }
    if (pickle_.empty() || static_cast<unsigned char>(pickle_[0]) != kProto)
      fail("expected a pickle of protocol 2, found other bytes at its start");
    while (!step()) {
    }
    if (position_ != pickle_.size()) {
      fail("expected the pickle to end with its STOP, found " +
           std::to_string(pickle_.size() - position_) + " more bytes");
    }
    if (stack_.size() != 1) {
      fail("expected one value in the end, found " + std::to_string(stack_.size()));
    }
    return groups_of(stack_.back());
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(place_ + "byte " + std::to_string(opcode_position_) + ": " + what);
  }

  /// Runs one opcode; true at STOP.
  bool step() {
    opcode_position_ = position_;
    const auto code = static_cast<unsigned char>(take(1)[0]);
    switch (code) {
      case kProto:
        if (const std::int64_t version = take_unsigned(1); version != 2 || opcode_position_ != 0) {
          fail("expected a pickle of protocol 2, as torch.save writes it, found protocol " +
               std::to_string(version));
        }
        return false;
      case kStop:
        return true;
      case kMark:
        push({Kind::kMark, 0, {}, {}});
        return false;
      case kEmptyDict:
        push({Kind::kDict, 0, {}, {}});
        return false;
      case kEmptyTuple:
        push({Kind::kTuple, 0, {}, {}});
        return false;
      case kTuple:
        push({Kind::kTuple, 0, {}, pop_to_mark()});
        return false;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push({Kind::kTuple, 0, {}, pop_many(std::size_t{1} + code - kTuple1)});
        return false;
      case kSetItem:
        add_items(pop_many(2));
        return false;
      case kSetItems:
        add_items(pop_to_mark());
        return false;
      case kBinInt:
        push_int(static_cast<std::int32_t>(static_cast<std::uint32_t>(take_unsigned(4))));
        return false;
      case kBinInt1:
        push_int(take_unsigned(1));
        return false;
      case kBinInt2:
        push_int(take_unsigned(2));
        return false;
      case kLong1:
        push_int(take_long());
        return false;
      case kNone:
        push({Kind::kNone, 0, {}, {}});
        return false;
      case kNewTrue:
      case kNewFalse:
        push({Kind::kBool, code == kNewTrue ? 1 : 0, {}, {}});
        return false;
      case kBinUnicode:
        push({Kind::kText, 0, take(static_cast<std::size_t>(take_unsigned(4))), {}});
        return false;
      case kGlobal:
        push_global();
        return false;
      case kReduce:
        reduce();
        return false;
      case kBuild:
        build();
        return false;
      case kBinPersId:
        load_storage();
        return false;
      case kBinPut:
        memo_[take_unsigned(1)] = top();
        return false;
      case kLongBinPut:
        memo_[take_unsigned(4)] = top();
        return false;
      case kBinGet:
        push_memo(take_unsigned(1));
        return false;
      case kLongBinGet:
        push_memo(take_unsigned(4));
        return false;
      default:
        fail("the opcode " + opcode_name(code) +
             " is not part of a plain dict of tensors and is refused; nothing of the file was run");
    }
  }

  std::string_view take(std::size_t num_bytes) {
    if (num_bytes > pickle_.size() - position_) {
      fail("expected " + std::to_string(num_bytes) + " more bytes, found " +
           std::to_string(pickle_.size() - position_) + " (the pickle is cut off)");
    }
    const std::string_view bytes = pickle_.substr(position_, num_bytes);
    position_ += num_bytes;
    return bytes;
  }

  std::int64_t take_unsigned(std::size_t num_bytes) {
    std::uint64_t value = 0;
    const std::string_view bytes = take(num_bytes);
    for (std::size_t i = 0; i < num_bytes; ++i)
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    return static_cast<std::int64_t>(value);
  }

  /// A number of up to 8 bytes in two's complement.
  std::int64_t take_long() {
    const auto num_bytes = static_cast<std::size_t>(take_unsigned(1));
    if (num_bytes > 8)
      fail("expected a number below 2^63, found one of " + std::to_string(num_bytes) + " bytes");
    if (num_bytes == 0) return 0;
    auto value = static_cast<std::uint64_t>(take_unsigned(num_bytes));
    const std::size_t unused_bits = 64 - 8 * num_bytes;
    // Carries the sign bit through the bytes that are not there.
    return static_cast<std::int64_t>(value << unused_bits) >> unused_bits;
  }

  Index add(Value value) {
    if (values_.size() >= kMaxValues)
      fail("expected at most " + std::to_string(kMaxValues) + " values, found more");
    values_.push_back(std::move(value));
    return static_cast<Index>(values_.size() - 1);
  }
  void push(Value value) { push_index(add(std::move(value))); }
  void push_int(std::int64_t number) { push({Kind::kInt, number, {}, {}}); }
  void push_index(Index index) {
    // BINGET pushes without making a value.
    if (stack_.size() >= kMaxValues)
      fail("expected at most " + std::to_string(kMaxValues) + " values at once, found more");
    stack_.push_back(index);
  }
  void push_memo(std::int64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end())
      fail("refers to value " + std::to_string(key) + ", which is not there");
    push_index(found->second);
  }

  Index top() const {
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark)
      fail("expected a value, found none");
    return stack_.back();
  }
  Index pop() {
    const Index index = top();
    stack_.pop_back();
    return index;
  }
  std::vector<Index> pop_many(std::size_t count) {
    std::vector<Index> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  std::vector<Index> pop_to_mark() {
    std::size_t begin = stack_.size();
    while (begin > 0 && values_[stack_[begin - 1]].kind != Kind::kMark) --begin;
    if (begin == 0) fail("expected a mark, found none");
    std::vector<Index> items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }

  void add_items(const std::vector<Index>& items) {
    Value& dict = values_[top()];
    if (dict.kind != Kind::kDict)
      fail("expected a dict to add to, found " + std::string(kind_name(dict.kind)));
    if (items.size() % 2 != 0) fail("expected pairs of key and value, found a key alone");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  std::string_view take_line() {
    const std::size_t end = pickle_.find('\n', position_);
    if (end == pickle_.npos)
      fail("expected a name that ends with its line (the pickle is cut off)");
    const std::string_view line = pickle_.substr(position_, end - position_);
    position_ = end + 1;
    return line;
  }

  void push_global() {
    const std::string_view module = take_line(), name = take_line();
    const std::string full = std::string(module.substr(0, kMaxNameBytes)) + " " +
                             std::string(name.substr(0, kMaxNameBytes));
    std::string_view known;
    for (const std::string_view candidate : {kOrderedDict, kRebuildTensor, kRebuildParameter}) {
      if (full == candidate) known = candidate;
    }
    for (const StorageType& type : kStorageTypes) {
      if (full == type.name) known = type.name;
    }
    if (known.empty()) {
      fail("names " + shown(module) + "." + shown(name) +
           ", which is no part of a plain dict of tensors and is refused; nothing of the file was "
           "run");
    }
    push({Kind::kGlobal, 0, known, {}});
  }

  const Value& item(const Value& tuple, std::size_t index, Kind kind, const char* what) const {
    const Value& value = values_[tuple.items[index]];
    if (value.kind != kind) {
      fail(std::string(what) + ": expected " + std::string(kind_name(kind)) + ", found " +
           std::string(kind_name(value.kind)));
    }
    return value;
  }

  void load_storage() {
    const Value& id = values_[pop()];
    if (id.kind != Kind::kTuple || id.items.size() != 5)
      fail("expected the five parts of a storage's name, found something else");
    if (item(id, 0, Kind::kText, "storage").text != "storage")
      fail("expected the name of a storage, found " +
           shown(item(id, 0, Kind::kText, "storage").text));
    const std::string_view type = item(id, 1, Kind::kGlobal, "type of a storage").text;
    PickledTensor storage;
    const auto row = std::find_if(kStorageTypes.begin(), kStorageTypes.end(),
                                  [&](const StorageType& t) { return t.name == type; });
    if (row == kStorageTypes.end())
      fail("type of a storage: expected torch.FloatStorage or a like type, found " + shown(type));
    storage.dtype = row->dtype;
    const std::string_view name = item(id, 2, Kind::kText, "name of a storage").text;
    if (name.empty() || name.size() > 20 || name.find_first_not_of("0123456789") != name.npos)
      fail("name of a storage: expected a number, found " + shown(name));
    storage.storage = name;
    (void)item(id, 3, Kind::kText, "device of a storage");
    storage.storage_elements = item(id, 4, Kind::kInt, "size of a storage").number;
    tensors_.push_back(std::move(storage));
    push({Kind::kStorage, static_cast<std::int64_t>(tensors_.size() - 1), {}, {}});
  }

  std::vector<std::int64_t> numbers(const Value& tuple, const char* what) const {
    if (tuple.items.size() > kMaxDimensions) {
      fail(std::string(what) + ": expected at most " + std::to_string(kMaxDimensions) +
           " dimensions, found " + std::to_string(tuple.items.size()));
    }
    std::vector<std::int64_t> result;
    for (std::size_t i = 0; i < tuple.items.size(); ++i)
      result.push_back(item(tuple, i, Kind::kInt, what).number);
    return result;
  }

  void reduce() {
    const Index arguments_index = pop(), callable_index = pop();
    const Value& arguments = values_[arguments_index];
    const Value& callable = values_[callable_index];
    if (callable.kind != Kind::kGlobal || arguments.kind != Kind::kTuple)
      fail("expected a callable and its arguments, found " + std::string(kind_name(callable.kind)) +
           " and " + std::string(kind_name(arguments.kind)));
    if (callable.text == kOrderedDict) {
      if (!arguments.items.empty()) fail("OrderedDict: expected no arguments, found some");
      push({Kind::kDict, 0, {}, {}});
    } else if (callable.text == kRebuildTensor) {
      rebuild_tensor(arguments);
    } else if (callable.text == kRebuildParameter) {
      if (arguments.items.size() != 3)
        fail("_rebuild_parameter: expected 3 arguments, found " +
             std::to_string(arguments.items.size()));
      (void)item(arguments, 0, Kind::kTensor, "_rebuild_parameter");
      push_index(arguments.items[0]);
    } else {
      fail("calls " + shown(callable.text) + ", which makes no tensor");
    }
  }

  void rebuild_tensor(const Value& arguments) {
    if (arguments.items.size() != 6)
      fail("_rebuild_tensor_v2: expected 6 arguments, found " +
           std::to_string(arguments.items.size()));
    PickledTensor tensor = tensors_[static_cast<std::size_t>(
        item(arguments, 0, Kind::kStorage, "storage of a tensor").number)];
    tensor.offset = item(arguments, 1, Kind::kInt, "offset of a tensor").number;
    tensor.shape = numbers(item(arguments, 2, Kind::kTuple, "shape of a tensor"), "shape");
    tensor.strides = numbers(item(arguments, 3, Kind::kTuple, "strides of a tensor"), "strides");
    (void)item(arguments, 4, Kind::kBool, "requires_grad of a tensor");
    if (!item(arguments, 5, Kind::kDict, "hooks of a tensor").items.empty())
      fail("hooks of a tensor: expected none, found some");
    tensors_.push_back(std::move(tensor));
    push({Kind::kTensor, static_cast<std::int64_t>(tensors_.size() - 1), {}, {}});
  }

  /// The state_dict of a module carries the versions of its parts beside its items; nothing else
  /// may be set on a value.
  void build() {
    const Value& state = values_[pop()];
    const Value& target = values_[top()];
    const bool is_metadata =
        target.kind == Kind::kDict && state.kind == Kind::kDict && state.items.size() == 2 &&
        values_[state.items[0]].kind == Kind::kText && values_[state.items[0]].text == "_metadata";
    if (!is_metadata) fail("expected BUILD to give a dict its _metadata, found another state");
  }

  std::string key_of(Index index, const std::string& owner, std::set<std::string>& known) const {
    const Value& value = values_[index];
    const std::string where = owner.empty() ? "" : owner + ": ";
    if (value.kind != Kind::kText)
      fail(where + "expected keys that are texts, found " + std::string(kind_name(value.kind)));
    if (value.text.empty() || value.text.size() > kMaxNameBytes || find_invalid_utf8(value.text) ||
        value.text.find('\0') != value.text.npos) {
      fail(where + "expected a key of 1 to " + std::to_string(kMaxNameBytes) +
           " bytes of text, found " + shown(value.text));
    }
    std::string key(value.text);
    if (!known.insert(key).second)
      fail(where + "expected every key once, found " + shown(value.text) + " twice");
    return key;
  }

  PickledGroup group_of(const Value& dict, std::string name) const {
    PickledGroup group{std::move(name), {}};
    std::set<std::string> known;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      std::string key = key_of(dict.items[i], group.name, known);
      const Value& value = values_[dict.items[i + 1]];
      if (value.kind != Kind::kTensor) {
        fail((group.name.empty() ? "" : group.name + ": ") + key + ": expected a tensor, found " +
             std::string(kind_name(value.kind)) +
             (value.kind == Kind::kDict ? " (nested deeper than a dict of dicts, or in a circle)"
                                        : ""));
      }
      group.tensors.emplace_back(std::move(key), tensors_[static_cast<std::size_t>(value.number)]);
    }
    return group;
  }

  std::vector<PickledGroup> groups_of(Index root_index) const {
    const Value& root = values_[root_index];
    if (root.kind != Kind::kDict)
      fail("expected a dict of tensors, found " + std::string(kind_name(root.kind)));
    const bool is_nested = !root.items.empty() && values_[root.items[1]].kind == Kind::kDict;
    if (!is_nested) return {group_of(root, "")};
    std::vector<PickledGroup> groups;
    std::set<std::string> known;
    std::size_t num_tensors = 0;
    for (std::size_t i = 0; i < root.items.size(); i += 2) {
      std::string key = key_of(root.items[i], "", known);
      const Value& value = values_[root.items[i + 1]];
      if (value.kind != Kind::kDict) {
        fail(key + ": expected a dict of tensors like those before it, found " +
             std::string(kind_name(value.kind)));
      }
      // The same dict under many keys would multiply its tensors.
      num_tensors += value.items.size() / 2;
      if (num_tensors > kMaxValues)
        fail("expected at most " + std::to_string(kMaxValues) + " tensors, found more");
      groups.push_back(group_of(value, std::move(key)));
    }
    return groups;
  }

  std::string_view pickle_;
  const std::string& place_;
  std::size_t position_ = 0;
  std::size_t opcode_position_ = 0;
  std::vector<Value> values_;
  std::vector<PickledTensor> tensors_;
  std::vector<Index> stack_;
  std::map<std::int64_t, Index> memo_;
};

void put(std::string& out, std::uint64_t value, std::size_t num_bytes) {
  for (std::size_t i = 0; i < num_bytes; ++i)
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

void put_text(std::string& out, std::string_view text) {
  out.push_back(kBinUnicode);
  put(out, text.size(), 4);
  out += text;
}

void put_int(std::string& out, std::int64_t number) {
  if (number >= std::numeric_limits<std::int32_t>::min() &&
      number <= std::numeric_limits<std::int32_t>::max()) {
    out.push_back(kBinInt);
    put(out, static_cast<std::uint64_t>(number), 4);
  } else {
    out.push_back(static_cast<char>(kLong1));
    put(out, 8, 1);
    put(out, static_cast<std::uint64_t>(number), 8);
  }
}

void put_global(std::string& out, std::string_view full_name) {
  const std::size_t space = full_name.find(' ');
  out.push_back(kGlobal);
  out += full_name.substr(0, space);
  out.push_back('\n');
  out += full_name.substr(space + 1);
  out.push_back('\n');
}

void put_numbers(std::string& out, const std::vector<std::int64_t>& numbers) {
  out.push_back(kMark);
  for (const std::int64_t number : numbers) put_int(out, number);
  out.push_back(kTuple);
}

void put_tensor(std::string& out, const PickledTensor& tensor) {
  const auto type = std::find_if(kStorageTypes.begin(), kStorageTypes.end(),
                                 [&](const StorageType& t) { return t.dtype == tensor.dtype; });
  if (type == kStorageTypes.end())
    throw Error("torch.save has no storage of type " + std::string(dtype_name(tensor.dtype)));
  put_global(out, kRebuildTensor);
  out.push_back(kMark);
  out.push_back(kMark);
  put_text(out, "storage");
  put_global(out, type->name);
  put_text(out, tensor.storage);
  put_text(out, "cpu");
  put_int(out, tensor.storage_elements);
  out.push_back(kTuple);
  out.push_back(kBinPersId);
  put_int(out, tensor.offset);
  put_numbers(out, tensor.shape);
  put_numbers(out, tensor.strides);
  out.push_back(static_cast<char>(kNewFalse));
  put_global(out, kOrderedDict);
  out.push_back(kEmptyTuple);
  out.push_back(kReduce);
  out.push_back(kTuple);
  out.push_back(kReduce);
}

void put_group(std::string& out, const PickledGroup& group) {
  out.push_back(kEmptyDict);
  out.push_back(kMark);
  for (const auto& [name, tensor] : group.tensors) {
    put_text(out, name);
    put_tensor(out, tensor);
  }
  out.push_back(kSetItems);
}

}  // namespace

std::vector<PickledGroup> read_tensor_pickle(std::string_view pickle, const std::string& place) {
  return PickleMachine(pickle, place).run();
}

std::string write_tensor_pickle(const std::vector<PickledGroup>& groups) {
  std::string out;
  out.push_back(static_cast<char>(kProto));
  out.push_back(2);
  if (groups.size() == 1 && groups[0].name.empty()) {
    put_group(out, groups[0]);
  } else {
    out.push_back(kEmptyDict);
    out.push_back(kMark);
    for (const PickledGroup& group : groups) {
      put_text(out, group.name);
      put_group(out, group);
    }
    out.push_back(kSetItems);
  }
  out.push_back(kStop);
  return out;
}

}  // namespace clara
