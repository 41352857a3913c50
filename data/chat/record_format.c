#include "record_format.h"

const char *dataset_format_name(DatasetFormat f) {
    return ENUM_WORDS(DATASET_FORMATS)[f].word;
}
