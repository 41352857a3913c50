// csv: rows of CSV and TSV text, and rows as JSON records.
//
// RFC 4180: cells are separated by the delimiter, rows by LF or CRLF; a cell that begins with a quote ends at the next
// one, has doubled quotes for quotes, and may have delimiters and line ends in it. As in pandas, a quote inside a cell
// that does not begin with one is text. Refused: text after a closing quote, a quote that does not end, CR alone
// outside of quotes.
#pragma once

#include "base.h"

enum { CSV_MAX_COLUMNS = 4096 };

typedef struct CsvScan { // of a row's first `at` bytes; init with {0}
    size_t at, lines;    // lines: line ends in quotes
    enum { CSV_BEGIN, CSV_PLAIN, CSV_QUOTED, CSV_CLOSED } state;
} CsvScan;
// Reads on in the row: true at its line end, `at`; false: the row has more text.
bool csv_find_end(CsvScan *s, const char *text, size_t len, char delimiter);

typedef struct CsvRow { // init with {0}
    StrBuf text;        // the cells, a NUL after each
    size_t *ends;       // [count] of the cells in text, of at most CSV_MAX_COLUMNS
    size_t count, capacity;
} CsvRow;
// One row without its line end (a CR before it is allowed), which begins on `line` of the file `name`; text has no NUL
// bytes.
int csv_read_row(CsvRow *row, const char *text, size_t len, char delimiter, const char *name, size_t line, Err *err);
const char *csv_cell(const CsvRow *row, size_t i, size_t *len);
void csv_row_clear(CsvRow *row);

// Makes a first row the names of columns: one without a name is "Unnamed: I", as in pandas, whose to_csv writes the
// index so. Refused: a name twice, too many, a header with other delimiters.
int csv_take_names(CsvRow *names, char delimiter, const char *name, size_t line, Err *err);
// Appends the row, with as many cells as there are names, as an object: cells are strings, an empty cell is null, which
// is absence.
void csv_print_record(StrBuf *out, const CsvRow *names, const CsvRow *row);
