// The C functions of io_abi.h over the readers and writers.
#include "io/csv.hpp"
#include "io/json.hpp"
#include "io/text.hpp"
#include "io/zip.hpp"

using namespace perigee;
using namespace perigee::io;

struct pg_io_npz : ZipReader {
  using ZipReader::ZipReader;
};
struct pg_io_npz_writer : ZipWriter {
  using ZipWriter::ZipWriter;
};
struct pg_io_csv : CsvReader {
  using CsvReader::CsvReader;
};
struct pg_io_json : JsonDocument {
  using JsonDocument::JsonDocument;
};
struct pg_io_reader : TextReader {
  using TextReader::TextReader;
};
struct pg_io_writer : Output {
  using Output::Output;
};

namespace {

Source open(const char *source, int64_t size, int32_t text) {
  return Source(source, size, text != 0);
}
std::string string(const char *text, int64_t size) {
  return std::string(text, static_cast<std::size_t>(size));
}
std::string_view view(const char *text, int64_t size) {
  return {text, static_cast<std::size_t>(size)};
}

// A text result as an array of bytes.
void give(pg_array *out, int32_t *collect, const Pool<char> &text) {
  const int64_t size = static_cast<int64_t>(text.size());
  array::Array bytes = array::create(PG_UINT8, {&size, 1}, false, collect);
  if (size > 0)
    std::memcpy(bytes->_data, text.data(), text.size());
  *out = bytes.detach();
}

// Rows to a file, or to *out.
template <class Write>
void write_to(pg_array *out, int32_t *collect, const char *path, int64_t size, int32_t append, Write &&write) {
  if (path) {
    Output file(string(path, size), append != 0);
    write(file);
    file.close();
  } else {
    TextSink text;
    write(text);
    give(out, collect, text.text);
  }
}

} // namespace

extern "C" {

int32_t pg_io_kind(const char *source, int64_t size, int32_t text, int32_t *kind) {
  return guard([&] {
    const Source from = open(source, size, text);
    *kind = looks_like_npy(from) ? 1 : looks_like_zip(from) ? 2 : 0;
  });
}

int32_t pg_io_npy_load(pg_array *out, int32_t *collect, const char *source, int64_t size, int32_t text, int32_t map) {
  return guard([&] {
    const Source from = open(source, size, text);
    if (map) {
      *out = map_npy(from).detach();
      return;
    }
    PartReader in(from, 0, from.size());
    *out = read_npy(in, from.name(), collect).detach();
  });
}

int32_t pg_io_npy_save(const pg_array *a, const char *path, int64_t size) {
  return guard([&] {
    Output file(string(path, size));
    write_npy(file, *a);
    file.close();
  });
}

int32_t pg_io_npz_open(pg_io_npz **out, const char *source, int64_t size, int32_t text) {
  return guard([&] { *out = new pg_io_npz(open(source, size, text)); });
}
int64_t pg_io_npz_count(const pg_io_npz *npz) {
  return static_cast<int64_t>(npz->members().size());
}
const char *pg_io_npz_name(const pg_io_npz *npz, int64_t i, int64_t *size) {
  const std::string &name = npz->members()[static_cast<std::size_t>(i)].name;
  *size = static_cast<int64_t>(name.size());
  return name.data();
}
int32_t pg_io_npz_read(pg_array *out, int32_t *collect, const pg_io_npz *npz, int64_t i) {
  return guard([&] { *out = npz->read(static_cast<std::size_t>(i), collect).detach(); });
}
void pg_io_npz_close(pg_io_npz *npz) {
  delete npz;
}

int32_t pg_io_npz_create(pg_io_npz_writer **out, const char *path, int64_t size, int32_t compress) {
  return guard([&] { *out = new pg_io_npz_writer(string(path, size), compress != 0); });
}
int32_t pg_io_npz_add(pg_io_npz_writer *npz, const char *name, int64_t size, const pg_array *a) {
  return guard([&] { npz->add(string(name, size), *a); });
}
int32_t pg_io_npz_finish(pg_io_npz_writer *npz) {
  return guard([&] { npz->finish(); });
}
void pg_io_npz_discard(pg_io_npz_writer *npz) {
  delete npz;
}

int32_t pg_io_csv_open(pg_io_csv **out, const char *source, int64_t size, int32_t text, const pg_io_csv_options *o) {
  return guard([&] {
    CsvOptions options;
    options.delimiter = o->delimiter;
    options.quote = o->quote;
    options.comment = o->comment;
    options.decimal = o->decimal;
    options.header = o->header != 0;
    options.trim = o->trim != 0;
    options.fill = o->fill != 0;
    options.skip_rows = o->skip_rows;
    options.max_rows = o->max_rows;
    int64_t begin = 0;
    for (int32_t i = 0; i < o->missing_count; ++i) {
      options.missing.emplace_back(o->missing + begin, o->missing + o->missing_ends[i]);
      begin = o->missing_ends[i];
    }
    *out = new pg_io_csv(open(source, size, text), options);
  });
}
int64_t pg_io_csv_width(const pg_io_csv *csv) {
  return static_cast<int64_t>(csv->names().size());
}
const char *pg_io_csv_name(const pg_io_csv *csv, int64_t column, int64_t *size) {
  const std::string &name = csv->names()[static_cast<std::size_t>(column)];
  *size = static_cast<int64_t>(name.size());
  return name.data();
}
int32_t pg_io_csv_read(pg_io_csv *csv, int32_t *collect, int32_t count, const int32_t *which, const int32_t *types) {
  return guard([&] {
    csv->read({which, static_cast<std::size_t>(count)}, {types, static_cast<std::size_t>(count)}, collect);
  });
}
int64_t pg_io_csv_rows(const pg_io_csv *csv) {
  return csv->rows();
}
int32_t pg_io_csv_column(pg_io_csv *csv, int32_t i, pg_array *out, int32_t *type) {
  return guard([&] {
    CsvColumn &column = csv->column(static_cast<std::size_t>(i));
    *type = column.type;
    if (column.type != text_type)
      *out = column.values.detach();
  });
}
void pg_io_csv_texts(const pg_io_csv *csv, int32_t i, const int32_t **codes, int64_t *texts, const int64_t **ends,
                     const char **bytes) {
  const CsvColumn &column = const_cast<pg_io_csv *>(csv)->column(static_cast<std::size_t>(i));
  *codes = static_cast<const int32_t *>(column.values->_data);
  *texts = static_cast<int64_t>(column.ends.size());
  *ends = column.ends.data();
  *bytes = column.bytes.data();
}
int32_t pg_io_csv_matrix(pg_array *out, int32_t *collect, pg_io_csv *csv, int32_t count, const int32_t *which,
                         int32_t dtype) {
  return guard([&] { *out = csv->read_matrix({which, static_cast<std::size_t>(count)}, dtype, collect).detach(); });
}
void pg_io_csv_close(pg_io_csv *csv) {
  delete csv;
}

int32_t pg_io_csv_write(pg_array *out, int32_t *collect, const char *path, int64_t path_size, const char *head,
                        int64_t head_size, int32_t count, const pg_io_csv_column_out *columns, int64_t rows,
                        int32_t delimiter, int32_t quote, const char *missing, int64_t missing_size, int32_t append) {
  return guard([&] {
    std::vector<CsvOutColumn> from;
    for (int32_t i = 0; i < count; ++i)
      from.push_back({columns[i].values, columns[i].bytes, columns[i].ends});
    write_to(out, collect, path, path_size, append, [&](Sink &to) {
      to.write(head, static_cast<std::size_t>(head_size));
      write_csv(to, from, rows, static_cast<char>(delimiter), static_cast<char>(quote), view(missing, missing_size));
    });
  });
}
int32_t pg_io_csv_write_matrix(pg_array *out, int32_t *collect, const char *path, int64_t path_size, const char *head,
                               int64_t head_size, const pg_array *a, int32_t delimiter, const char *missing,
                               int64_t missing_size, int32_t append) {
  return guard([&] {
    write_to(out, collect, path, path_size, append, [&](Sink &to) {
      to.write(head, static_cast<std::size_t>(head_size));
      write_matrix(to, *a, static_cast<char>(delimiter), view(missing, missing_size));
    });
  });
}

int32_t pg_io_json_parse(pg_io_json **out, const char *source, int64_t size, int32_t text, int32_t depth,
                         int32_t arrays) {
  return guard([&] { *out = new pg_io_json(open(source, size, text), depth, arrays != 0); });
}
const pg_io_json_token *pg_io_json_tokens(const pg_io_json *json, int64_t *count, const char **bytes,
                                          const double **numbers, const int64_t **lengths) {
  *count = static_cast<int64_t>(json->tokens.size());
  *bytes = json->bytes.data();
  *numbers = json->numbers.data();
  *lengths = json->lengths.data();
  return json->tokens.data();
}
void pg_io_json_close(pg_io_json *json) {
  delete json;
}
int32_t pg_io_number(double value, char *text) {
  return static_cast<int32_t>(put_number(text, value) - text);
}
int32_t pg_io_json_array(pg_array *out, int32_t *collect, const pg_array *a, int32_t nan) {
  return guard([&] {
    Pool<char> made;
    json_array(made, *a, nan != 0);
    give(out, collect, made);
  });
}

int32_t pg_io_read_text(pg_array *out, int32_t *collect, const char *path, int64_t size) {
  return guard([&] {
    const Source from = open(path, size, 0);
    const int64_t bytes = from.size();
    array::Array text = array::create(PG_UINT8, {&bytes, 1}, false, collect);
    from.read(0, text->_data, bytes);
    *out = text.detach();
  });
}
int32_t pg_io_reader_open(pg_io_reader **out, const char *path, int64_t size, int64_t block) {
  return guard([&] { *out = new pg_io_reader(string(path, size), block); });
}
int32_t pg_io_reader_block(pg_io_reader *reader, const char **data, int64_t *size) {
  return guard([&] {
    const std::string_view piece = reader->block();
    *data = piece.data();
    *size = static_cast<int64_t>(piece.size());
  });
}
int32_t pg_io_reader_line(pg_io_reader *reader, const char **data, int64_t *size, int64_t longest) {
  return guard([&] {
    std::string_view line;
    const bool more = reader->line(line, longest);
    *data = more ? line.data() : nullptr;
    *size = static_cast<int64_t>(line.size());
  });
}
void pg_io_reader_close(pg_io_reader *reader) {
  delete reader;
}
int32_t pg_io_writer_open(pg_io_writer **out, const char *path, int64_t size, int32_t append) {
  return guard([&] { *out = new pg_io_writer(string(path, size), append != 0); });
}
int32_t pg_io_writer_write(pg_io_writer *writer, const char *text, int64_t size) {
  return guard([&] { writer->write(text, static_cast<std::size_t>(size)); });
}
int32_t pg_io_writer_close(pg_io_writer *writer) {
  return guard([&] { writer->close(); });
}
void pg_io_writer_free(pg_io_writer *writer) {
  delete writer;
}
}
