// Rows and files of published benchmarks. The first byte says the layout, or how the file is named.
#include "tests/fuzz/fuzz_input.h"

#include "clara/benchmarks/convert.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace {

using namespace clara;

// What is written must be what the record reader takes.
void check_line(std::string_view line) {
  fuzz::require(!find_invalid_utf8(line).has_value());
  fuzz::require(line.ends_with('\n'));
  if (line.starts_with("{\"data_type\"")) {
    (void)parse_scp_record(line, {"out.jsonl", 1});
  } else if (line.find("\"docs\":[") != std::string_view::npos) {
    (void)parse_qa_record(line, {"out.jsonl", 1});
  }
}

void convert_file(const char* name, const std::string& text, std::optional<BenchmarkFormat> format,
                  bool keeps_complete) {
  ConvertSettings settings;
  settings.format = format;
  settings.skips_bad_rows = true;
  settings.keeps_unanswerable = true;
  settings.keeps_complete = keeps_complete;
  std::string written;
  try {
    const std::string path = fuzz::scratch_file(name, text).string();
    const ConvertReport report =
        convert_benchmarks({path}, settings, [&](std::string_view line) { written += line; });
    fuzz::require(!render_convert_report(report).empty());
  } catch (const DataError& error) {
    fuzz::require(!find_invalid_utf8(error.what()).has_value());
  }
  std::string_view rest = written;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n') + 1;
    check_line(rest.substr(0, end));
    rest.remove_prefix(end);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text = fuzz::text_of(data + 1, size - 1);
  const std::size_t num_formats = benchmark_format_names().size();
  const std::size_t choice = data[0] % (num_formats + 4);
  if (choice < num_formats) {
    convert_file("x.jsonl", text, static_cast<BenchmarkFormat>(choice), false);
  } else if (choice == num_formats) {
    convert_file("x.jsonl", text, std::nullopt, true);
  } else if (choice == num_formats + 1) {
    convert_file("x.json", text, std::nullopt, false);
  } else if (choice == num_formats + 2) {
    convert_file("x.json", text, std::nullopt, true);
  } else {
    convert_file("x.jsonl.gz", text, std::nullopt, true);
  }
  return 0;
}
