// parquet_reader: the rows of a Parquet file as JSON text, by Arrow's C++ library: lorac-parquet.so. The only file that
// uses Arrow. Rows are read in batches of about 8 MB, one page of each column at a time; all memory of Arrow's buffers
// together is limited, and no exception leaves this file.
#include "parquet_module.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/util/float16.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

// END_BYTES: Arrow takes up to 250 times as much for the metadata at the end of a file.
enum { END_BYTES = 8 << 20, LIST_ITEMS = 1 << 16, TEXT_BYTES = 4 << 20, BUFFER_BYTES = 1 << 30 };

struct ParquetReader {
    std::string path;
    arrow::CappedMemoryPool pool{arrow::system_memory_pool(), BUFFER_BYTES};
    std::unique_ptr<parquet::arrow::FileReader> file;
    std::unique_ptr<arrow::RecordBatchReader> batches;
    std::shared_ptr<arrow::RecordBatch> batch;
    int64_t row = 0;       // the next one in the batch
    int64_t rows_left = 0; // in the file, as it says
};

namespace {

// The first line of a message of Arrow's.
int refuse(const std::string &path, const char *why, Err *err) {
    return err_input(err, "%s: found a Parquet file that cannot be read: %.*s", path.c_str(),
                     static_cast<int>(std::min<size_t>(std::strcspn(why, "\n"), 200)), why);
}

void check(const arrow::Status &s) {
    if (!s.ok()) throw std::runtime_error(s.message());
}

template <class T> T take(arrow::Result<T> r) {
    check(r.status());
    return std::move(r).ValueUnsafe();
}

// ---- values ----

class Printer {
  public:
    Printer(StrBuf *to, size_t most_bytes) : out(to), most(to->len + most_bytes), row_limit(most_bytes) {}

    void object(const arrow::RecordBatch &batch, int64_t row) {
        for (int c = 0; c < batch.num_columns(); c++) member(c, batch.column_name(c), *batch.column(c), row);
        str_puts(out, batch.num_columns() ? "}" : "{}");
    }

  private:
    StrBuf *out;
    size_t most, row_limit; // of out->len; of the row

    void check_length(size_t more) const {
        if (out->len + more > most)
            throw std::length_error("a row of more than " + std::to_string(row_limit) + " bytes");
    }

    void text(std::string_view s) {
        static const char hex[] = "0123456789abcdef";
        check_length(s.size());
        size_t plain = 0; // start of the run that needs no escape
        str_puts(out, "\"");
        for (size_t i = 0; i < s.size(); i++) {
            unsigned char c = static_cast<unsigned char>(s[i]);
            if (c >= 32 && c != '"' && c != '\\') continue;
            char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            str_add(out, s.data() + plain, i - plain);
            str_add(out, escape, sizeof escape);
            plain = i + 1;
        }
        str_add(out, s.data() + plain, s.size() - plain);
        str_puts(out, "\"");
        check_length(0);
    }

    template <class T> void integer(T v) {
        char digits[24];
        str_add(out, digits, static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, v).ptr - digits));
    }

    // As Python writes it: 1.0 is not 1.
    void real(double v) {
        char digits[40];
        if (!std::isfinite(v)) {
            str_puts(out, std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
            return;
        }
        size_t n = static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, v).ptr - digits);
        str_add(out, digits, n);
        if (std::string_view(digits, n).find_first_of(".e") == std::string_view::npos) str_puts(out, ".0");
    }

    void member(int64_t number, std::string_view name, const arrow::Array &values, int64_t i) {
        str_puts(out, number ? ", " : "{");
        text(name);
        str_puts(out, ": ");
        value(values, i);
    }

    template <class List> void list(const List &a, int64_t i) {
        str_puts(out, "[");
        for (int64_t k = 0, begin = a.value_offset(i); k < a.value_length(i); k++) {
            if (k) str_puts(out, ", ");
            value(*a.values(), begin + k);
        }
        str_puts(out, "]");
        check_length(0);
    }

    void fields(const arrow::StructArray &a, int64_t i) {
        for (int f = 0; f < a.num_fields(); f++) member(f, a.struct_type()->field(f)->name(), *a.field(f), i);
        str_puts(out, a.num_fields() ? "}" : "{}");
    }

    // A map with keys that are text.
    void map(const arrow::MapArray &a, int64_t i) {
        const auto &keys = static_cast<const arrow::StringArray &>(*a.keys());
        for (int64_t k = 0, begin = a.value_offset(i); k < a.value_length(i); k++)
            member(k, keys.GetView(begin + k), *a.items(), begin + k);
        str_puts(out, a.value_length(i) ? "}" : "{}");
    }

    void not_read(const arrow::Array &a) {
        std::string name = a.type()->ToString().substr(0, 60);
        for (char &c : name)
            if (c == '(' || c == ')' || c < 32 || c > 126) c = c == '(' ? '[' : c == ')' ? ']' : '?';
        str_printf(out, "NaN(a value of the Parquet type %s)", name.c_str());
    }

    void entry(const arrow::DictionaryArray &a, int64_t i) {
        int64_t at = a.GetValueIndex(i);
        if (at < 0 || at >= a.dictionary()->length()) throw std::out_of_range("a value outside of its dictionary");
        value(*a.dictionary(), at);
    }

    template <class A> const A &as(const arrow::Array &a) { return static_cast<const A &>(a); }

    void value(const arrow::Array &a, int64_t i) {
        using namespace arrow;
        if (a.IsNull(i)) {
            str_puts(out, "null");
            return;
        }
        switch (a.type_id()) {
        case Type::BOOL: str_puts(out, as<BooleanArray>(a).Value(i) ? "true" : "false"); break;
        case Type::INT8: integer(int{as<Int8Array>(a).Value(i)}); break;
        case Type::INT16: integer(as<Int16Array>(a).Value(i)); break;
        case Type::INT32: integer(as<Int32Array>(a).Value(i)); break;
        case Type::INT64: integer(as<Int64Array>(a).Value(i)); break;
        case Type::UINT8: integer(int{as<UInt8Array>(a).Value(i)}); break;
        case Type::UINT16: integer(as<UInt16Array>(a).Value(i)); break;
        case Type::UINT32: integer(as<UInt32Array>(a).Value(i)); break;
        case Type::UINT64: integer(as<UInt64Array>(a).Value(i)); break;
        case Type::HALF_FLOAT: real(util::Float16::FromBits(as<HalfFloatArray>(a).Value(i)).ToDouble()); break;
        case Type::FLOAT: real(as<FloatArray>(a).Value(i)); break;
        case Type::DOUBLE: real(as<DoubleArray>(a).Value(i)); break;
        case Type::STRING: text(as<StringArray>(a).GetView(i)); break;
        case Type::LARGE_STRING: text(as<LargeStringArray>(a).GetView(i)); break;
        case Type::STRING_VIEW: text(as<StringViewArray>(a).GetView(i)); break;
        case Type::LIST: list(as<ListArray>(a), i); break;
        case Type::LARGE_LIST: list(as<LargeListArray>(a), i); break;
        case Type::FIXED_SIZE_LIST: list(as<FixedSizeListArray>(a), i); break;
        case Type::STRUCT: fields(as<StructArray>(a), i); break;
        case Type::DICTIONARY: entry(as<DictionaryArray>(a), i); break;
        case Type::EXTENSION: value(*as<ExtensionArray>(a).storage(), i); break;
        case Type::MAP:
            if (as<MapArray>(a).map_type()->key_type()->id() == Type::STRING) {
                map(as<MapArray>(a), i);
                break;
            }
            [[fallthrough]];
        default: not_read(a);
        }
    }
};

// ---- the file ----

// Rows that have about 8 MB together, if the file tells the truth.
int64_t batch_rows(const parquet::FileMetaData &m) {
    double bytes = 1, rows = static_cast<double>(std::max<int64_t>(m.num_rows(), 1));
    for (int g = 0; g < m.num_row_groups(); g++)
        bytes += static_cast<double>(std::max<int64_t>(m.RowGroup(g)->total_byte_size(), 0));
    return static_cast<int64_t>(std::clamp(rows / bytes * (8 << 20), 16.0, 4096.0));
}

// The last bytes say how long the metadata before them is.
void check_end(arrow::io::ReadableFile &file) {
    uint8_t length[8];
    int64_t size = take(file.GetSize());
    if (size < static_cast<int64_t>(sizeof length)) return; // Arrow says what is wrong
    take(file.ReadAt(size - static_cast<int64_t>(sizeof length), sizeof length, length));
    uint32_t bytes = length[0] | length[1] << 8 | length[2] << 16 | static_cast<uint32_t>(length[3]) << 24;
    if (bytes > END_BYTES) throw std::length_error("metadata of " + std::to_string(bytes) + " bytes");
}

void open_file(ParquetReader &r, int fd) {
    std::shared_ptr<arrow::io::ReadableFile> file;
    auto opened = arrow::io::ReadableFile::Open(fd, &r.pool);
    if (!opened.ok()) ::close(fd);
    file = take(std::move(opened));
    check_end(*file);
    parquet::ReaderProperties p(&r.pool);
    p.enable_buffered_stream();
    p.set_page_checksum_verification(true);
    p.set_thrift_string_size_limit(TEXT_BYTES);
    p.set_thrift_container_size_limit(LIST_ITEMS);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(file, p));
    auto metadata = builder.raw_reader()->metadata();
    parquet::ArrowReaderProperties a(false);
    a.set_pre_buffer(false);
    a.set_batch_size(batch_rows(*metadata));
    r.file = take(builder.memory_pool(&r.pool)->properties(a)->Build());
    r.batches = take(r.file->GetRecordBatchReader());
    r.rows_left = metadata->num_rows();
}

// False at the end.
bool next_batch(ParquetReader &r) {
    while (!r.batch || r.row == r.batch->num_rows()) {
        r.row = 0;
        r.batch.reset();
        check(r.batches->ReadNext(&r.batch));
        if (!r.batch) return false;
        check(r.batch->Validate());
    }
    return true;
}

int open_reader(ParquetReader **out, const char *path, Err *err) {
    *out = nullptr;
    int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_input(err, "%s: cannot be opened: %s", path, std::strerror(errno));
    try {
        auto r = std::make_unique<ParquetReader>();
        r->path = path;
        open_file(*r, fd);
        *out = r.release();
        return 0;
    } catch (const std::exception &e) {
        return refuse(path, e.what(), err);
    } catch (...) {
        return refuse(path, "unknown exception", err);
    }
}

int next_row(ParquetReader *r, StrBuf *record, size_t most, Err *err) {
    try {
        if (!next_batch(*r)) {
            if (r->rows_left) throw std::runtime_error("it has less rows than it says");
            return 0;
        }
        r->rows_left--;
        Printer(record, most).object(*r->batch, r->row++);
        return 1;
    } catch (const std::exception &e) {
        return refuse(r->path, e.what(), err);
    } catch (...) {
        return refuse(r->path, "unknown exception", err);
    }
}

void close_reader(ParquetReader *r) { delete r; }

} // namespace

const ParquetCalls lorac_parquet = {open_reader, next_row, close_reader};
