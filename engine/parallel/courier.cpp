#include "parallel/courier.hpp"

#include "core/status.hpp"

#include <algorithm>

namespace perigee::parallel {
namespace {

constexpr uint32_t no_extent = UINT32_MAX;

// The bytes of its block that an array uses, from the first to the last.
std::pair<int64_t, int64_t> range_of(const pg_array &a) {
  const int64_t start = static_cast<const std::byte *>(a._data) - static_cast<const std::byte *>(a._block->memory);
  if (a._size == 0)
    return {start, start};
  const auto size = static_cast<int64_t>(array::element_size(a._dtype));
  int64_t first = start, last = start + size;
  for (int i = 0; i < a._ndim; ++i) {
    const int64_t reach = (a._shape[i] - 1) * a._strides[i] * size;
    (reach < 0 ? first : last) += reach;
  }
  return {first, last};
}

} // namespace

void Writer::put_text(std::string_view text) {
  put(static_cast<uint64_t>(text.size()));
  put_bytes(text.data(), text.size());
}

const std::byte *Reader::take(std::size_t bytes) {
  if (bytes > packet.bytes.size() - at_)
    throw InternalError("a packet between processes ends early");
  const std::byte *data = packet.bytes.data() + at_;
  at_ += bytes;
  return data;
}

std::string_view Reader::get_text() {
  const auto size = get<uint64_t>();
  return {reinterpret_cast<const char *>(take(size)), size};
}

void Courier::put(Writer &writer, const Message &message) {
  writer.put(message.count);
  writer.put_text({message.bytes.data(), message.bytes.size()});

  writer.put(static_cast<uint32_t>(message.prototypes.size()));
  for (const auto &prototype : message.prototypes) {
    const auto [known, fresh] = sent_prototypes_.try_emplace(prototype, sent_prototypes_.size() + 1);
    writer.put(known->second);
    if (!fresh)
      continue;
    new_prototypes_.push_back(prototype);
    writer.put(static_cast<uint32_t>(prototype->upvalues));
    writer.put_text(prototype->code);
    uint64_t number = 0;
    bool first = false;
    if (prototype->chunk) {
      const auto [chunk, unsent] = sent_chunks_.try_emplace(prototype->chunk, sent_chunks_.size() + 1);
      number = chunk->second;
      first = unsent;
    }
    writer.put(number);
    if (first) {
      new_chunks_.push_back(prototype->chunk);
      writer.put_text(prototype->chunk->name);
      writer.put_text(prototype->chunk->text);
    }
  }

  // One extent a block, so that views of one array still share it where they arrive.
  writer.put(static_cast<uint32_t>(message.arrays.size()));
  for (const array::Array &a : message.arrays) {
    uint32_t extent = no_extent;
    int64_t offset = 0;
    if (a->_block) {
      auto [first, last] = range_of(*a);
      offset = static_cast<const std::byte *>(a->_data) - static_cast<const std::byte *>(a->_block->memory);
      auto found = std::find_if(writer.extents.begin(), writer.extents.end(),
                                [&](const Extent &e) { return e.block == a->_block; });
      first &= ~int64_t{63}; // keeps the alignment of all
      if (found == writer.extents.end())
        found = writer.extents.insert(found, {a->_block, first, last});
      found->first = std::min(found->first, first);
      found->last = std::max(found->last, last);
      extent = static_cast<uint32_t>(found - writer.extents.begin());
    }
    writer.put(extent);
    writer.put(offset);
    writer.put(a->_dtype);
    writer.put(a->_ndim);
    writer.put(a->_flags);
    for (int i = 0; i < a->_ndim; ++i) {
      writer.put(a->_shape[i]);
      writer.put(a->_strides[i]);
    }
  }

  writer.put(static_cast<uint32_t>(message.shared.size()));
  for (const Ref<> &object : message.shared) {
    writer.put(static_cast<int32_t>(object->kind));
    const uint64_t number = objects_.number(object);
    new_objects_.push_back(number);
    writer.put(number);
    const WordPlace place = object->word() ? place_of(*object->word()) : WordPlace{};
    uint32_t extent = no_extent;
    if (place.block) {
      auto found = std::find_if(writer.extents.begin(), writer.extents.end(),
                                [&](const Extent &e) { return e.block == place.block; });
      if (found == writer.extents.end())
        found = writer.extents.insert(found, {place.block, 0, place.block->bytes});
      extent = static_cast<uint32_t>(found - writer.extents.begin());
    }
    writer.put(extent);
    writer.put(place.offset);
  }
}

void Courier::settle(bool sent) {
  if (!sent) {
    for (const auto &chunk : new_chunks_)
      sent_chunks_.erase(chunk);
    for (const auto &prototype : new_prototypes_)
      sent_prototypes_.erase(prototype);
    if (objects_.take_back)
      for (const uint64_t number : new_objects_)
        objects_.take_back(number);
  }
  new_chunks_.clear();
  new_prototypes_.clear();
  new_objects_.clear();
}

Message Courier::get(Reader &reader) {
  Message message;
  message.count = reader.get<uint32_t>();
  const std::string_view bytes = reader.get_text();
  message.bytes.append(bytes.data(), bytes.size());

  for (auto left = reader.get<uint32_t>(); left > 0; --left) {
    const auto number = reader.get<uint64_t>();
    auto &prototype = prototypes_[number];
    if (!prototype) {
      const auto upvalues = reader.get<uint32_t>();
      std::string code(reader.get_text());
      std::shared_ptr<const Chunk> chunk;
      if (const auto place = reader.get<uint64_t>()) {
        auto &known = chunks_[place];
        if (!known) {
          const std::string_view name = reader.get_text();
          known = intern_chunk(name, reader.get_text());
        }
        chunk = known;
      }
      prototype = intern_prototype(std::move(code), upvalues, std::move(chunk));
    }
    message.prototypes.push_back(prototype);
  }
  for (auto left = reader.get<uint32_t>(); left > 0; --left) {
    const auto extent = reader.get<uint32_t>();
    const auto offset = reader.get<int64_t>();
    pg_array a{};
    a._dtype = reader.get<int32_t>();
    a._ndim = reader.get<int32_t>();
    a._flags = reader.get<int32_t>();
    if (a._ndim < 0 || a._ndim > array::max_dimensions || array::element_size(a._dtype) == 0)
      throw InternalError("an array was lost between processes");
    a._size = extent == no_extent ? 0 : 1;
    for (int i = 0; i < a._ndim; ++i) {
      a._shape[i] = reader.get<int64_t>();
      a._strides[i] = reader.get<int64_t>();
      a._size *= a._shape[i];
    }
    if (reader.packet.failure)
      continue;
    if (extent != no_extent) {
      if (extent >= reader.packet.extents.size())
        throw InternalError("an array was lost between processes");
      const Extent &memory = reader.packet.extents[extent];
      a._block = memory.block;
      a._data = static_cast<std::byte *>(memory.block->memory) + (offset - memory.first);
      const auto [first, last] = range_of(a);
      if (a._size < 0 || first < 0 || last > memory.block->bytes)
        throw InternalError("an array was lost between processes");
      if (!Segment::of(a._block) && last - first == memory.block->bytes)
        a._flags &= ~PG_ARRAY_VIEW; // of nothing else that came along
      array::retain(a._block);
    }
    message.arrays.push_back(array::Array::adopt(a));
  }

  for (auto left = reader.get<uint32_t>(); left > 0; --left) {
    const auto kind = reader.get<int32_t>();
    const auto number = reader.get<uint64_t>();
    const auto extent = reader.get<uint32_t>();
    WordPlace place{nullptr, reader.get<int64_t>()};
    if (!reader.packet.failure && extent < reader.packet.extents.size()) {
      place.block = reader.packet.extents[extent].block;
      if (place.offset < 0 || place.offset > place.block->bytes - static_cast<int64_t>(sizeof(Word)))
        throw InternalError("a shared object was lost between processes");
    }
    message.shared.push_back(objects_.object(number, kind, place));
  }
  return message;
}

} // namespace perigee::parallel
