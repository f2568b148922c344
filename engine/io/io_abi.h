/* Reading and writing files, as C, C++ and Lua see it. Functions return a pg_status and leave a message for
   pg_last_message; it begins with the file's name. Where a `source` is read, `text` says whether [source, source + size)
   is the text itself, which the caller keeps until the reader is closed, or a path. Text results are arrays of uint8. */

/* npy and npz. *kind: 0 neither, 1 npy, 2 npz (zip), by the first bytes. */
int32_t pg_io_kind(const char *source, int64_t size, int32_t text, int32_t *kind);
/* A C- or F-ordered array; `map`: read-only in the mapped file. */
int32_t pg_io_npy_load(pg_array *out, int32_t *collect, const char *source, int64_t size, int32_t text, int32_t map);
int32_t pg_io_npy_save(const pg_array *a, const char *path, int64_t size);

typedef struct pg_io_npz pg_io_npz;
int32_t pg_io_npz_open(pg_io_npz **out, const char *source, int64_t size, int32_t text);
int64_t pg_io_npz_count(const pg_io_npz *npz);
/* The name of member i (from 0), with ".npy"; lives as long as the reader. */
const char *pg_io_npz_name(const pg_io_npz *npz, int64_t i, int64_t *size);
int32_t pg_io_npz_read(pg_array *out, int32_t *collect, const pg_io_npz *npz, int64_t i);
void pg_io_npz_close(pg_io_npz *npz);

typedef struct pg_io_npz_writer pg_io_npz_writer;
int32_t pg_io_npz_create(pg_io_npz_writer **out, const char *path, int64_t size, int32_t compress);
/* name without ".npy" */
int32_t pg_io_npz_add(pg_io_npz_writer *npz, const char *name, int64_t size, const pg_array *a);
int32_t pg_io_npz_finish(pg_io_npz_writer *npz);
void pg_io_npz_discard(pg_io_npz_writer *npz);

/* Tables of separated values. */
typedef struct pg_io_csv_options {
  int32_t delimiter; /* a byte; -2: runs of spaces and tabs */
  int32_t quote;     /* a byte; -1: none; likewise comment */
  int32_t comment;
  int32_t decimal;
  int32_t header; /* whether the first record names the columns */
  int32_t trim;   /* spaces and tabs around cells are dropped */
  int32_t fill;   /* short records are filled with missing cells; else they are errors */
  int32_t missing_count;
  int64_t skip_rows; /* lines dropped at the beginning */
  int64_t max_rows;  /* -1: all */
  const char *missing;         /* spellings of a missing cell, one after the other */
  const int64_t *missing_ends; /* where each ends */
} pg_io_csv_options;
typedef struct pg_io_csv pg_io_csv;
int32_t pg_io_csv_open(pg_io_csv **out, const char *source, int64_t size, int32_t text,
                       const pg_io_csv_options *options);
int64_t pg_io_csv_width(const pg_io_csv *csv);
const char *pg_io_csv_name(const pg_io_csv *csv, int64_t column, int64_t *size);
/* Reads `count` columns (from 0, each at most once). types: enum pg_dtype, -1 to infer, 100 for text. */
int32_t pg_io_csv_read(pg_io_csv *csv, int32_t *collect, int32_t count, const int32_t *which, const int32_t *types);
int64_t pg_io_csv_rows(const pg_io_csv *csv);
/* The type of the i-th column read; its values go to *out (once), unless it is text. */
int32_t pg_io_csv_column(pg_io_csv *csv, int32_t i, pg_array *out, int32_t *type);
/* A text column: row r is text number codes[r], -1 where missing; text k is bytes[ends[k - 1]] to bytes[ends[k]]. */
void pg_io_csv_texts(const pg_io_csv *csv, int32_t i, const int32_t **codes, int64_t *texts, const int64_t **ends,
                     const char **bytes);
int32_t pg_io_csv_matrix(pg_array *out, int32_t *collect, pg_io_csv *csv, int32_t count, const int32_t *which,
                         int32_t dtype);
void pg_io_csv_close(pg_io_csv *csv);

/* A column to write: an array of one dimension, or texts (row r from ends[r - 1] to ends[r]; missing where ends[r] is
   negative, -1 - its end). */
typedef struct pg_io_csv_column_out {
  const pg_array *values;
  const char *bytes;
  const int64_t *ends;
} pg_io_csv_column_out;
/* Writes `head` (the finished header line, or nothing) and the rows to a path, or as text to *out if path is NULL. */
int32_t pg_io_csv_write(pg_array *out, int32_t *collect, const char *path, int64_t path_size, const char *head,
                        int64_t head_size, int32_t count, const pg_io_csv_column_out *columns, int64_t rows,
                        int32_t delimiter, int32_t quote, const char *missing, int64_t missing_size, int32_t append);
/* A matrix of two dimensions likewise. */
int32_t pg_io_csv_write_matrix(pg_array *out, int32_t *collect, const char *path, int64_t path_size, const char *head,
                               int64_t head_size, const pg_array *a, int32_t delimiter, const char *missing,
                               int64_t missing_size, int32_t append);

/* JSON: a document as a list of tokens in order. Containers say how many entries follow; keys of objects come before
   their values. */
enum pg_io_json_kind {
  PG_JSON_NULL = 0,
  PG_JSON_FALSE = 1,
  PG_JSON_TRUE = 2,
  PG_JSON_NUMBER = 3,
  PG_JSON_STRING = 4, /* bytes[at] to bytes[at + count] */
  PG_JSON_LIST = 5,   /* count entries */
  PG_JSON_OBJECT = 6, /* count keys with values */
  PG_JSON_ARRAY = 7   /* numbers[at] on; count dimensions, whose lengths are in lengths[at_lengths] on */
};
typedef struct pg_io_json_token {
  int32_t kind;
  int32_t at_lengths;
  int64_t count;
  int64_t at;
  double number;
} pg_io_json_token;
typedef struct pg_io_json pg_io_json;
/* arrays: lists of numbers alone (and lists of such of one shape) become PG_JSON_ARRAY. */
int32_t pg_io_json_parse(pg_io_json **out, const char *source, int64_t size, int32_t text, int32_t depth,
                         int32_t arrays);
const pg_io_json_token *pg_io_json_tokens(const pg_io_json *json, int64_t *count, const char **bytes,
                                          const double **numbers, const int64_t **lengths);
void pg_io_json_close(pg_io_json *json);
/* A number as text that reads as the same double, at most 32 bytes; returns how many. */
int32_t pg_io_number(double value, char *text);
/* An array as nested lists. Complex numbers are an error, as are NaN and infinities unless `nan` (they become null). */
int32_t pg_io_json_array(pg_array *out, int32_t *collect, const pg_array *a, int32_t nan);

/* Text. */
int32_t pg_io_read_text(pg_array *out, int32_t *collect, const char *path, int64_t size);
typedef struct pg_io_reader pg_io_reader;
/* Reads a file in pieces of `block` bytes. */
int32_t pg_io_reader_open(pg_io_reader **out, const char *path, int64_t size, int64_t block);
/* The next piece, or *size = 0 at the end; lives until the next call. */
int32_t pg_io_reader_block(pg_io_reader *reader, const char **data, int64_t *size);
/* The next line without its end (LF or CRLF), or *data = NULL at the end. `longest` bytes at most. */
int32_t pg_io_reader_line(pg_io_reader *reader, const char **data, int64_t *size, int64_t longest);
void pg_io_reader_close(pg_io_reader *reader);
typedef struct pg_io_writer pg_io_writer;
int32_t pg_io_writer_open(pg_io_writer **out, const char *path, int64_t size, int32_t append);
int32_t pg_io_writer_write(pg_io_writer *writer, const char *text, int64_t size);
int32_t pg_io_writer_close(pg_io_writer *writer); /* reports what could not be written; the writer stays */
void pg_io_writer_free(pg_io_writer *writer);
