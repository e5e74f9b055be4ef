// Precompiled once: a translation unit that parses torch/torch.h takes most of its time doing so.
#pragma once
#include <torch/torch.h>
