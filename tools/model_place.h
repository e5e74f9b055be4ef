// Which base model is computed with, where, and in which type: options that commands with a model
// share.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "clara/config/run_config.h"

namespace clara::tools {

struct ModelPlace {
  std::string base;  ///< empty: the checkpoint's own
  std::string device_name = "auto";
  std::string dtype_name = "auto";

  Device device() const;
  Dtype dtype() const;
};

/// Adds --base, --device and --dtype.
void add_model_place_options(CLI::App& app, ModelPlace& place);

}  // namespace clara::tools
