// Which adapter of a checkpoint reads questions.
#pragma once

#include "clara/checkpoint/model_files.h"

namespace clara {

/// The adapter that reads questions to rank documents: the query reasoner once joint or retriever
/// training has made one; before that the compressor, which it will start from.
AdapterRole question_reader(const ModelDescription& description);

}  // namespace clara
