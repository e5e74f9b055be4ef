// Records and record files. The first byte says how the rest is read.
#include "tests/fuzz/fuzz_input.h"

#include "clara/common/error.h"
#include "clara/data/records.h"
#include "clara/data/row_source.h"

namespace {

void read_file_of_records(const std::string& name, const std::string& text, std::int64_t max_rows) {
  using namespace clara;
  const std::string path = fuzz::scratch_file(name, text).string();
  const RowSource rows({{path, 1.0, 0}}, max_rows);
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const RawRow row = rows.row(i);
    try {
      (void)parse_qa_record(row.text, row.place);
    } catch (const DataError&) {
    }
    try {
      (void)parse_scp_record(row.text, row.place);
    } catch (const DataError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clara;
  if (size == 0) return 0;
  const std::string text = fuzz::text_of(data + 1, size - 1);
  try {
    switch (data[0] % 6) {
      case 0:
        (void)parse_scp_record(text, {"f", 1});
        break;
      case 1:
        (void)parse_qa_record(text, {"f", 1});
        break;
      case 2:
        read_file_of_records("x.jsonl", text, 0);
        break;
      case 3:
        read_file_of_records("x.json", text, 0);
        break;
      case 4:
        read_file_of_records("x.jsonl.gz", text, 0);
        break;
      default:
        read_file_of_records("x.jsonl", text, 2);
        break;
    }
  } catch (const Error&) {
  }
  return 0;
}
