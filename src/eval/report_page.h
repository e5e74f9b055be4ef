// The parts of the page in src/eval/report_page/, put into the library by cmake/EmbedText.cmake.
#pragma once

#include <string_view>

namespace clara {

extern const std::string_view kReportPageHtml;
extern const std::string_view kReportPageStyle;
extern const std::string_view kReportPageScript;

}  // namespace clara
