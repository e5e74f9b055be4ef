// Names of both sides side by side, then values in pieces that fit any memory.
#include "clara/analysis/diff_tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "analysis/shown_text.h"
#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Elements compared at a time: two float64 copies of them take 32 MiB.
constexpr std::int64_t kPiece = std::int64_t{1} << 21;

struct Side {
  std::vector<SafetensorsFile> files;
  /// Name → file and tensor.
  std::map<std::string, std::pair<const SafetensorsFile*, const TensorEntry*>> tensors;
  std::map<std::string, fs::path> json_files;
  bool is_folder = false;
};

/// "adapters/compressor" → "compressor/"; "" stays.
std::string folder_prefix(const fs::path& relative_folder) {
  std::string prefix;
  for (const fs::path& part : relative_folder) {
    if (part != "adapters" && part != "." && !part.empty()) prefix += part.string() + "/";
  }
  return prefix;
}

bool is_compared_json(const std::string& name) {
  return name == "clara.json" || name == "adapter_config.json" || name == "config.json";
}

Side open_side(const fs::path& path) {
  Side side;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw DataError(path.string() +
                    ": expected a .safetensors file or a folder that holds some, found nothing "
                    "there");
  }
  if (!fs::is_directory(status)) {
    side.files.emplace_back(path);
    for (const TensorEntry& entry : side.files.front().tensors())
      side.tensors[entry.name] = {&side.files.front(), &entry};
    return side;
  }

  side.is_folder = true;
  std::vector<fs::path> found;
  fs::recursive_directory_iterator walk(path, fs::directory_options::skip_permission_denied, error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    const fs::path& file = walk->path();
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored)) continue;
    if (file.extension() == ".safetensors") found.push_back(file);
    if (is_compared_json(file.filename().string())) {
      const fs::path relative = file.lexically_relative(path);
      side.json_files.emplace(folder_prefix(relative.parent_path()) + file.filename().string(),
                              file);
    }
  }
  if (error) throw DataError(path.string() + ": cannot be read: " + error.message());
  if (found.empty()) {
    throw DataError(path.string() +
                    ": expected a checkpoint, a final/ folder or a PEFT folder, found no "
                    ".safetensors file in it or below");
  }
  std::sort(found.begin(), found.end());
  side.files.reserve(found.size());  // the map below points into it
  std::map<std::string, int> uses;
  for (const fs::path& file : found) {
    side.files.emplace_back(file);
    const std::string prefix = folder_prefix(file.lexically_relative(path).parent_path());
    for (const TensorEntry& entry : side.files.back().tensors()) ++uses[prefix + entry.name];
  }
  for (const SafetensorsFile& file : side.files) {
    const fs::path relative = file.path().lexically_relative(path);
    const std::string prefix = folder_prefix(relative.parent_path());
    for (const TensorEntry& entry : file.tensors()) {
      std::string name = prefix + entry.name;
      if (uses[name] > 1) name = relative.string() + ":" + entry.name;
      side.tensors[name] = {&file, &entry};
    }
  }
  return side;
}

std::string type_of(const TensorEntry& entry) {
  return std::string(dtype_name(entry.dtype)) + " " + shape_string(entry.shape);
}

/// The elements of a tensor in one dimension, not copied.
torch::Tensor elements_of(const SafetensorsFile& file, const TensorEntry& entry) {
  try {
    return map_tensor(entry, file.mapping()).reshape({-1});
  } catch (const DataError& error) {
    throw DataError(file.path().string() + ": tensor " + entry.name + ": " + error.what());
  }
}

void compare_elements(const torch::Tensor& a, const torch::Tensor& b, TensorDiff& diff) {
  double largest = 0, square_difference = 0, square_a = 0;
  for (std::int64_t begin = 0; begin < a.size(0); begin += kPiece) {
    const std::int64_t count = std::min(kPiece, a.size(0) - begin);
    const torch::Tensor piece_a = a.narrow(0, begin, count), piece_b = b.narrow(0, begin, count);
    const torch::Tensor x = piece_a.to(torch::kFloat64), y = piece_b.to(torch::kFloat64);
    // Whole numbers beyond 2^53 differ in their own type only.
    const bool same_type = a.scalar_type() == b.scalar_type();
    const torch::Tensor equal = torch::logical_or(same_type ? piece_a == piece_b : x == y,
                                                  torch::logical_and(x.isnan(), y.isnan()));
    const torch::Tensor finite = torch::logical_and(x.isfinite(), y.isfinite());
    const torch::Tensor zero = torch::zeros({}, torch::kFloat64);
    const torch::Tensor distance = torch::where(equal, zero, (x - y).abs());
    const std::int64_t different = count - equal.sum().item<std::int64_t>();
    diff.num_different += different;
    const torch::Tensor finite_distance = torch::where(finite, distance, zero);
    diff.max_absolute = std::max(diff.max_absolute, finite_distance.max().item<double>());
    if (torch::logical_and(equal.logical_not(), finite.logical_not()).any().item<bool>())
      diff.max_absolute = std::numeric_limits<double>::infinity();
    const torch::Tensor finite_x = torch::where(finite, x, zero);
    largest = std::max({largest, finite_x.abs().max().item<double>(),
                        torch::where(finite, y, zero).abs().max().item<double>()});
    square_difference += finite_distance.square().sum().item<double>();
    square_a += finite_x.square().sum().item<double>();
  }
  const auto ratio = [](double part, double whole) {
    if (part == 0) return 0.0;
    return whole > 0 ? part / whole : std::numeric_limits<double>::infinity();
  };
  diff.relative = ratio(diff.max_absolute, largest);
  diff.relative_norm = std::isinf(diff.max_absolute)
                           ? diff.max_absolute
                           : ratio(std::sqrt(square_difference), std::sqrt(square_a));
}

TensorDiff compare(const std::string& name, const SafetensorsFile& file_a, const TensorEntry& a,
                   const SafetensorsFile& file_b, const TensorEntry& b, double tolerance) {
  TensorDiff diff;
  diff.name = name;
  diff.a = type_of(a);
  diff.b = type_of(b);
  if (a.shape != b.shape) {
    diff.match = TensorMatch::kOtherShape;
    return diff;
  }
  const torch::Tensor elements_a = elements_of(file_a, a), elements_b = elements_of(file_b, b);
  diff.num_elements = elements_a.size(0);
  compare_elements(elements_a, elements_b, diff);
  const bool same_type = a.dtype == b.dtype;
  if (diff.num_different == 0 && same_type) {
    diff.match = TensorMatch::kEqual;
  } else if (tolerance > 0 && diff.relative <= tolerance) {
    diff.match = TensorMatch::kWithinTolerance;
  } else {
    diff.match = TensorMatch::kDifferent;
  }
  return diff;
}

/// Values of nested objects by their dotted keys; lists are values.
void flatten(const Json& json, const std::string& key, std::map<std::string, Json>& values) {
  if (!json.is_object() || (json.empty() && !key.empty())) {
    values[key] = json;
    return;
  }
  for (const auto& [name, value] : json.items())
    flatten(value, key.empty() ? name : key + "." + name, values);
}

std::map<std::string, Json> read_values(const fs::path& path) {
  const Json json = parse_json<Json>(read_file(path));
  if (!json.is_object())
    throw DataError(path.string() + ": expected a JSON object; the file is damaged");
  std::map<std::string, Json> values;
  flatten(json, "", values);
  // PEFT writes target_modules in the order of a Python set.
  const auto modules = values.find("target_modules");
  if (modules != values.end() && modules->second.is_array())
    std::sort(modules->second.begin(), modules->second.end());
  return values;
}

void compare_json(const Side& a, const Side& b, DiffReport& report) {
  std::set<std::string> names;
  for (const Side* side : {&a, &b}) {
    for (const auto& [name, path] : side->json_files) names.insert(name);
  }
  for (const std::string& name : names) {
    const auto in_a = a.json_files.find(name), in_b = b.json_files.find(name);
    if (in_a == a.json_files.end() || in_b == b.json_files.end()) {
      const bool missing_a = in_a == a.json_files.end();
      report.values.push_back({name, "", missing_a ? "" : "present", missing_a ? "present" : ""});
      continue;
    }
    const std::map<std::string, Json> values_a = read_values(in_a->second),
                                      values_b = read_values(in_b->second);
    std::set<std::string> keys;
    for (const auto* values : {&values_a, &values_b}) {
      for (const auto& [key, value] : *values) keys.insert(key);
    }
    for (const std::string& key : keys) {
      const auto va = values_a.find(key), vb = values_b.find(key);
      const bool has_a = va != values_a.end(), has_b = vb != values_b.end();
      if (has_a && has_b && va->second == vb->second) continue;
      report.values.push_back(
          {name, key, has_a ? va->second.dump() : "", has_b ? vb->second.dump() : ""});
    }
  }
}

std::string label(TensorMatch match) {
  switch (match) {
    case TensorMatch::kOnlyInA:
      return "only in A";
    case TensorMatch::kOnlyInB:
      return "only in B";
    case TensorMatch::kOtherShape:
      return "other shape";
    case TensorMatch::kDifferent:
      return "different";
    case TensorMatch::kWithinTolerance:
      return "within tolerance";
    case TensorMatch::kEqual:
      break;
  }
  return "equal";
}

TextColor color_of(TensorMatch match) {
  switch (match) {
    case TensorMatch::kEqual:
      return TextColor::kDim;
    case TensorMatch::kWithinTolerance:
      return TextColor::kPlain;
    case TensorMatch::kOnlyInA:
    case TensorMatch::kOnlyInB:
      return TextColor::kYellow;
    default:
      return TextColor::kRed;
  }
}

/// "F32 [2, 3]", or both where they differ.
std::string shown_types(const TensorDiff& diff) {
  if (diff.a.empty() || diff.b.empty() || diff.a == diff.b) return diff.a.empty() ? diff.b : diff.a;
  return diff.a + " | " + diff.b;
}

}  // namespace

std::int64_t DiffReport::count(TensorMatch match) const {
  return std::count_if(tensors.begin(), tensors.end(),
                       [&](const TensorDiff& diff) { return diff.match == match; });
}

bool DiffReport::is_equal() const {
  const std::int64_t passed = count(TensorMatch::kEqual) + count(TensorMatch::kWithinTolerance);
  return passed == static_cast<std::int64_t>(tensors.size()) && values.empty();
}

DiffReport diff_tensors(const fs::path& a, const fs::path& b, const DiffSettings& settings) {
  const torch::NoGradGuard no_grad;
  const Side side_a = open_side(a), side_b = open_side(b);
  DiffReport report;
  report.a = a.string();
  report.b = b.string();
  for (const auto& [name, tensor_a] : side_a.tensors) {
    const auto found = side_b.tensors.find(name);
    if (found == side_b.tensors.end()) {
      TensorDiff diff;
      diff.name = name;
      diff.match = TensorMatch::kOnlyInA;
      diff.a = type_of(*tensor_a.second);
      report.tensors.push_back(std::move(diff));
    } else {
      report.tensors.push_back(compare(name, *tensor_a.first, *tensor_a.second,
                                       *found->second.first, *found->second.second,
                                       settings.tolerance));
    }
  }
  for (const auto& [name, tensor_b] : side_b.tensors) {
    if (side_a.tensors.contains(name)) continue;
    TensorDiff diff;
    diff.name = name;
    diff.match = TensorMatch::kOnlyInB;
    diff.b = type_of(*tensor_b.second);
    report.tensors.push_back(std::move(diff));
  }
  std::sort(report.tensors.begin(), report.tensors.end(),
            [](const TensorDiff& x, const TensorDiff& y) {
              return std::make_tuple(x.match, -x.relative, -x.max_absolute, x.name) <
                     std::make_tuple(y.match, -y.relative, -y.max_absolute, y.name);
            });
  report.compared_values = settings.compare_values && side_a.is_folder && side_b.is_folder;
  if (report.compared_values) compare_json(side_a, side_b, report);
  return report;
}

std::string render_diff(const DiffReport& report, const DiffStyle& style) {
  std::string text = "A  " + report.a + "\nB  " + report.b + "\n";

  TextTable tensors({{"tensor"},
                     {""},
                     {"dtype and shape"},
                     {"max |a-b|", true},
                     {"of largest", true},
                     {"of norm", true},
                     {"elements", true}});
  std::int64_t left_out = 0;
  std::size_t shown = 0;
  for (const TensorDiff& diff : report.tensors) {
    if (diff.match == TensorMatch::kEqual && !style.all) continue;
    if (style.max_rows > 0 && shown == style.max_rows) {
      ++left_out;
      continue;
    }
    ++shown;
    std::vector<std::string> cells = {escape_controls(diff.name), label(diff.match),
                                      shown_types(diff)};
    const bool has_values = !diff.a.empty() && !diff.b.empty();
    if (has_values && diff.match != TensorMatch::kOtherShape) {
      cells.push_back(short_number(diff.max_absolute, 3));
      cells.push_back(short_number(diff.relative, 3));
      cells.push_back(short_number(diff.relative_norm, 3));
      cells.push_back(std::to_string(diff.num_different) + "/" + std::to_string(diff.num_elements));
    }
    tensors.add_row(std::move(cells), color_of(diff.match));
  }
  if (!tensors.empty()) text.append("\n").append(tensors.render(style.colors));
  if (left_out > 0) text += "… and " + std::to_string(left_out) + " more\n";

  TextTable values({{"file"}, {"key"}, {"A"}, {"B"}});
  for (const ValueDiff& value : report.values) {
    const auto shown_value = [](const std::string& v) {
      return v.empty() ? "(missing)" : shorten(escape_controls(v), 60);
    };
    values.add_row({value.file, value.key.empty() ? "(whole file)" : escape_controls(value.key),
                    shown_value(value.a), shown_value(value.b)},
                   TextColor::kRed);
  }
  if (!values.empty()) text.append("\n").append(values.render(style.colors));

  std::string summary = std::to_string(report.tensors.size()) +
                        " tensors: " + std::to_string(report.count(TensorMatch::kEqual)) + " equal";
  for (const TensorMatch match :
       {TensorMatch::kWithinTolerance, TensorMatch::kOtherShape, TensorMatch::kDifferent,
        TensorMatch::kOnlyInA, TensorMatch::kOnlyInB}) {
    if (const std::int64_t count = report.count(match); count > 0)
      summary += ", " + std::to_string(count) + " " + label(match);
  }
  if (report.compared_values)
    summary += "; " + std::to_string(report.values.size()) + " JSON values differ";
  text += '\n';
  text += paint(summary, report.is_equal() ? TextColor::kGreen : TextColor::kRed, style.colors);
  return text += '\n';
}

}  // namespace clara
