// --base, --device, --dtype.
#include "tools/model_place.h"

namespace clara::tools {

Device ModelPlace::device() const {
  if (device_name == "cpu") return Device::kCpu;
  return device_name == "cuda" ? Device::kCuda : Device::kAuto;
}

Dtype ModelPlace::dtype() const {
  if (dtype_name == "float32") return Dtype::kFloat32;
  return dtype_name == "bfloat16" ? Dtype::kBfloat16 : Dtype::kAuto;
}

void add_model_place_options(CLI::App& app, ModelPlace& place) {
  app.add_option("--base", place.base,
                 "Hugging Face folder of the base model, in place of the checkpoint's own");
  app.add_option("--device", place.device_name, "where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--dtype", place.dtype_name, "of the base model and the compute")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
}

}  // namespace clara::tools
