// record_faults: says what a data file or a record is, where it is not what it should be: UTF-16, gzip under the wrong
// name, CSV, a comma after each line, a Python dict, a record over several lines.
#pragma once

#include "records.h"

// The first bytes of a file. -1 and a message, or 0: nothing known is wrong with them. is_text: zeros among them are
// those of UTF-16 or UTF-32.
int fault_in_file(const char *path, const char *text, size_t len, bool is_text, Err *err);
// The first line of a file that should hold JSON records.
int fault_in_first_line(const char *path, size_t line, const char *text, size_t len, Err *err);
// A record that is no JSON: a better message in place of the parser's, where there is one. Returns -1.
int fault_in_record(RecordSpan span, Err *err);
// The same of JSON text in a string of a record. Returns -1.
int fault_in_value(const char *name, const char *text, size_t len, Err *err);
// A byte that is no UTF-8. Returns -1.
int fault_in_text(const char *name, size_t line, const char *at, Err *err);
