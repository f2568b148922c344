// The readers of perigee.io on hostile bytes: what the fuzzers (tests/fuzz) found or grew, and the bounds on memory.
#include "fuzz/readers.hpp"

#include "array/foreign.hpp"
#include "core/memory.hpp"
#include "core/status.hpp"
#include "io/csv.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <zlib.h>

extern "C" {
#include "io/io_abi.h"
}

using namespace perigee;

namespace {

std::string deflated(const std::string &text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef *>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

void put(std::string &to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    to += i < 8 ? static_cast<char>(value >> (8 * i) & 255) : '\0';
}

// A zip file of one member whose directory states `size` bytes; `times` entries of the directory name it.
std::string zip(const std::string &compressed, uint32_t size, uint32_t crc, int times = 1) {
  const auto entry = [&](bool directory) {
    std::string text;
    put(text, directory ? 0x02014b50 : 0x04034b50, 4);
    if (directory)
      put(text, 20, 2);
    put(text, 20, 2);
    put(text, 0, 2);
    put(text, 8, 2);
    put(text, 0, 4);
    put(text, crc, 4);
    put(text, compressed.size(), 4);
    put(text, size, 4);
    put(text, 5, 2);
    put(text, 0, directory ? 16 : 2);
    return text + "a.npy";
  };
  std::string file = entry(false) + compressed;
  const std::size_t at = file.size();
  for (int i = 0; i < times; ++i)
    file += entry(true);
  const std::size_t end = file.size();
  put(file, 0x06054b50, 4);
  put(file, 0, 4);
  put(file, static_cast<uint64_t>(times), 2);
  put(file, static_cast<uint64_t>(times), 2);
  put(file, end - at, 4);
  put(file, at, 4);
  put(file, 0, 2);
  return file;
}

std::string npy(const std::string &shape, const std::string &descr, const std::string &elements) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  std::string file("\x93NUMPY\x01\x00", 8);
  put(file, header.size() + 1, 2);
  return file + header + "\n" + elements;
}

// Reads all members; the message of the first error, or nothing.
std::string read_all(const std::string &file) {
  pg_io_npz *npz = nullptr;
  if (pg_io_npz_open(&npz, file.data(), static_cast<int64_t>(file.size()), 1) != PG_OK)
    return pg_last_message();
  std::string message;
  for (int64_t i = 0; i < pg_io_npz_count(npz) && message.empty(); ++i) {
    pg_array a{};
    int32_t collect = 0;
    if (pg_io_npz_read(&a, &collect, npz, i) != PG_OK)
      message = pg_last_message();
    pg_array_release(&a);
  }
  pg_io_npz_close(npz);
  return message;
}

} // namespace

TEST_CASE("io: the inputs of the fuzzers", "[io]") {
  int count = 0;
  for (const fuzz::Reader &reader : fuzz::readers)
    for (const auto &file :
         std::filesystem::directory_iterator(PERIGEE_SOURCE "/tests/fuzz/corpus/" + std::string(reader.name))) {
      INFO(file.path());
      std::ifstream in(file.path(), std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(in)), {});
      reader.run(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
      ++count;
    }
  CHECK(count > 100);
}

TEST_CASE("io: elements of every bit pattern become ones that LuaJIT takes for numbers", "[io]") {
  std::vector<uint64_t> words;
  for (uint64_t top = 0; top < 0x10000; ++top)
    for (uint64_t low : {uint64_t{0}, uint64_t{1}, uint64_t{0xdeadbeef}, ~uint64_t{0} >> 16})
      words.push_back(top << 48 | low);
  words.push_back(uint64_t{0xfff9} << 48); // a rest behind whole vectors
  std::vector<uint64_t> doubles = words, floats = words;
  const auto n = static_cast<int64_t>(words.size());
  CHECK(!array::elements_are_clean(words.data(), PG_FLOAT64, n));
  CHECK(!array::elements_are_clean(words.data(), PG_COMPLEX64, n));
  CHECK(array::elements_are_clean(words.data(), PG_INT64, n));
  array::clean_elements(doubles.data(), PG_FLOAT64, n);
  array::clean_elements(floats.data(), PG_FLOAT32, 2 * n);
  CHECK(array::elements_are_clean(doubles.data(), PG_COMPLEX128, n / 2));
  CHECK(array::elements_are_clean(floats.data(), PG_COMPLEX64, n));
  int64_t wrong = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const double value = std::bit_cast<double>(words[i]);
    wrong += doubles[i] != (value == value ? words[i] : uint64_t{0x7ff8} << 48);
    for (int half : {0, 32}) {
      const auto bits = static_cast<uint32_t>(words[i] >> half), now = static_cast<uint32_t>(floats[i] >> half);
      const float small = std::bit_cast<float>(bits);
      wrong += now != (small == small ? bits : 0x7fc00000u);
    }
  }
  CHECK(wrong == 0);
  uint8_t flags[] = {0, 1, 2, 255};
  CHECK(!array::elements_are_clean(flags, PG_BOOL, 4));
  array::clean_elements(flags, PG_BOOL, 4);
  CHECK((flags[0] == 0 && flags[1] == 1 && flags[2] == 1 && flags[3] == 1));
}

TEST_CASE("io: what npz files state is compared with what they hold", "[io]") {
  const std::string whole = npy("(4000000,)", "|u1", std::string(4000000, '\0')), packed = deflated(whole);
  const auto size = static_cast<uint32_t>(whole.size());
  const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef *>(whole.data()), size));
  CHECK(packed.size() < 8000); // 1 to 1000: deflate does no better, so more is a lie
  CHECK(read_all(zip(packed, size, crc)).empty());
  CHECK(read_all(zip(packed, size, crc + 1)).find("checksum") != std::string::npos);
  CHECK(read_all(zip(packed, size - 1, crc)).find("4000000 bytes, but only 3999999 bytes follow") != std::string::npos);
  CHECK(read_all(zip(packed, size + 1, crc)).find("end 1 bytes early") != std::string::npos);
  CHECK(read_all(zip(packed, 4000000000u, crc)).find("cannot hold") != std::string::npos);
  // Entries that share one member's bytes would multiply them without end.
  CHECK(read_all(zip(packed, size, crc, 10)).find("larger than the file has room for") != std::string::npos);
  CHECK(read_all(zip(packed.substr(0, 100), size, crc)).find("cannot hold") != std::string::npos);
  // A member that the file's limit of memory does not allow.
  const int64_t account = core::open_account(2 << 20);
  {
    core::AccountScope scope(account);
    CHECK(!read_all(zip(packed, size, crc)).empty());
    CHECK(core::account_outside(account) == 0);
  }
  core::close_account(account);
}

TEST_CASE("io: npy headers may not state more than follows them", "[io]") {
  for (const char *shape : {"(1152921504606846976,)", "(4294967296, 4294967296)", "(9223372036854775807, 0)", "(7,)",
                            "(9223372036854775807, 9223372036854775807)", "(18446744073709551617,)"}) {
    const std::string file = npy(shape, "<f8", std::string(48, '\0'));
    pg_array a{};
    int32_t collect = 0;
    CHECK(pg_io_npy_load(&a, &collect, file.data(), static_cast<int64_t>(file.size()), 1, 0) == PG_ERROR_FILE);
    pg_array_release(&a);
  }
}

TEST_CASE("io: deep JSON costs no machine stack", "[io]") {
  for (const char *open : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 200000; ++i)
      text += open;
    pg_io_json *json = nullptr;
    CHECK(pg_io_json_parse(&json, text.data(), static_cast<int64_t>(text.size()), 1, 2000, 0) == PG_ERROR_FILE);
    CHECK(std::string(pg_last_message()).find("more than 2000 deep") != std::string::npos);
  }
}

TEST_CASE("io: tables of very many columns", "[io]") {
  std::string text;
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 65536; ++c)
      text += (c ? "," : "") + std::string(1, static_cast<char>('a' + (r + c) % 26)) + (c < 65535 ? "" : "\n");
  io::CsvOptions options;
  options.header = false;
  io::CsvReader reader(io::Source(text.data(), static_cast<int64_t>(text.size()), true), options);
  REQUIRE(reader.names().size() == 65536);
  std::vector<int32_t> which(65536), types(65536, io::infer_type);
  for (int32_t i = 0; i < 65536; ++i)
    which[static_cast<std::size_t>(i)] = i;
  int32_t collect = 0;
  reader.read(which, types, &collect);
  CHECK(reader.rows() == 3);
  CHECK(reader.column(65535).type == io::text_type);
  CHECK(reader.column(65535).values.data<int32_t>()[2] == 2);
  text.insert(0, ",");
  CHECK_THROWS_AS(io::CsvReader(io::Source(text.data(), static_cast<int64_t>(text.size()), true), options),
                  UnsupportedError);
}

TEST_CASE("io: short decimals are read exactly", "[io]") {
  // As pandas does not by default: every number as strtod reads it.
  std::string text;
  std::vector<double> values;
  char number[64];
  for (int i = 0; i < 30000; ++i) {
    const int digits = i % 12;
    std::snprintf(number, sizeof number, "%.*f", digits, (i * 7919 % 100003 - 50000) / 7.0);
    values.push_back(std::strtod(number, nullptr));
    (text += number) += i % 3 == 2 ? "\n" : ",";
  }
  io::CsvOptions options;
  options.header = false;
  io::CsvReader reader(io::Source(text.data(), static_cast<int64_t>(text.size()), true), options);
  const int32_t which[] = {0, 1, 2};
  const array::Array a = reader.read_matrix(which, PG_FLOAT64, nullptr);
  REQUIRE(a->_size == 30000);
  CHECK(std::memcmp(a->_data, values.data(), 30000 * sizeof(double)) == 0);
}
