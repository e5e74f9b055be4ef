// manifest.json of a checkpoint: its files with their sizes and checksums, written last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace clara {

/// Name of the file in the checkpoint's folder.
inline constexpr const char* kManifestName = "manifest.json";

struct ManifestFile {
  std::uint64_t num_bytes = 0;
  std::string xxh3_128;  ///< 32 hexadecimal digits of the content
};

struct Manifest {
  std::int32_t format_version = 1;
  std::map<std::string, ManifestFile> files;  ///< by path relative to the folder, '/' between parts
};

/// Reads a manifest's text. Throws CheckpointError: no JSON, a missing or wrong field, a newer
/// format version, a file name that leaves the folder.
Manifest parse_manifest(const std::string& text);

/// The text that parse_manifest reads.
std::string render_manifest(const Manifest& manifest);

/// Describes every file below `folder` and writes manifest.json there, synced. Throws Error or
/// DataError.
void write_manifest(const std::filesystem::path& folder);

/// Whether every file of the manifest is in `folder` with its size and checksum, and every
/// .safetensors and .json file of the folder in the manifest; else the reason. Never throws for
/// what a damaged folder holds.
std::optional<std::string> find_manifest_damage(const std::filesystem::path& folder);

}  // namespace clara
