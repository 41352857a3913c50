#include "record_format.h"

static const char *const format_names[FORMAT_COUNT] = {
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text", "input_ids", "classification"};

const char *dataset_format_name(DatasetFormat f) {
    return format_names[f];
}
