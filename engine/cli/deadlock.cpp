#include "cli/deadlock.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

namespace perigee::cli {

using mpi::RankState;
using mpi::Wait;

namespace {

enum class Role { receive, send, both, request, collective };

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

Role role_of(const Wait &wait) {
  const std::string name = lower(wait.operation);
  auto has = [&](const char *part) { return name.find(part) != std::string::npos; };
  if (has("sendrecv"))
    return Role::both;
  if (has("recv") || has("probe"))
    return Role::receive;
  if (has("send"))
    return Role::send;
  if (has("wait") || has("test"))
    return Role::request;
  return Role::collective;
}

// A rank that has come to its script's end waits in MPI_Finalize for the others.
bool gone(const RankView &rank) {
  return rank.ended || rank.state == RankState::finalised ||
         (rank.state == RankState::waiting && std::string_view(rank.wait.operation) == "finalize");
}
bool waits(const RankView &rank) {
  return !gone(rank) && rank.state == RankState::waiting;
}

std::string rank_name(int rank) {
  return "rank " + std::to_string(rank);
}

// {0, 1, 2, 5} -> "ranks 0-2, 5"
std::string rank_names(const std::vector<int> &ranks) {
  if (ranks.size() == 1)
    return rank_name(ranks[0]);
  std::string text = "ranks ";
  for (std::size_t i = 0, j; i < ranks.size(); i = j) {
    for (j = i + 1; j < ranks.size() && ranks[j] == ranks[j - 1] + 1;)
      ++j;
    text += (i > 0 ? ", " : "") + std::to_string(ranks[i]);
    if (j > i + 1)
      text += (j == i + 2 ? ", " : "-") + std::to_string(ranks[j - 1]);
  }
  return text;
}

std::string place_of(const Wait &wait) {
  return wait.place[0] ? " (" + std::string(wait.place) + ")" : "";
}

// "to receive from 1", after "rank 0 waits"; `self`: the rank that waits.
std::string purpose(const Wait &wait, int self) {
  const std::string whom = wait.peer == self ? "itself" : wait.peer >= 0 ? std::to_string(wait.peer) : "any rank";
  switch (role_of(wait)) {
  case Role::receive:
    return (lower(wait.operation).find("probe") != std::string::npos ? "for a message from " : "to receive from ") +
           whom;
  case Role::send:
    return "to send to " + whom;
  default:
    return "in " + std::string(wait.operation) + (wait.peer >= 0 ? " for " + whom : "");
  }
}

std::string says(int rank, const Wait &wait) {
  return rank_name(rank) + " waits " + purpose(wait, rank) + place_of(wait);
}

bool same_communicator(const Wait &a, const Wait &b) {
  return std::string_view(a.communicator) == b.communicator;
}
bool tags_fit(const Wait &a, const Wait &b) {
  return a.tag < 0 || b.tag < 0 || a.tag == b.tag;
}
bool meant_for(const Wait &wait, int rank) {
  return wait.peer == rank || wait.peer == mpi::any_peer;
}

// Whether a receive of rank a and a send of rank b face each other, whatever their tags.
bool face(const std::vector<RankView> &ranks, int a, int b) {
  const Wait &receive = ranks[a].wait, &send = ranks[b].wait;
  const Role r = role_of(receive), s = role_of(send);
  return a != b && waits(ranks[a]) && waits(ranks[b]) && (r == Role::receive || r == Role::both) &&
         (s == Role::send || s == Role::both) && meant_for(receive, b) && meant_for(send, a);
}

struct Group {
  Wait wait{};
  RankState state{};
  bool gone = false;
  std::vector<int> ranks{};
};

// Ranks that do the same, in the order of their first.
std::vector<Group> groups_of(const std::vector<RankView> &ranks) {
  std::vector<Group> groups;
  for (int i = 0; i < static_cast<int>(ranks.size()); ++i) {
    const RankView &rank = ranks[i];
    auto same = [&](const Group &group) {
      if (group.gone != gone(rank) || (!group.gone && group.state != rank.state))
        return false;
      const Wait &a = group.wait, &b = rank.wait;
      return group.gone || group.state != RankState::waiting ||
             (a.peer == b.peer && a.tag == b.tag && std::string_view(a.operation) == b.operation &&
              same_communicator(a, b) && std::string_view(a.place) == b.place);
    };
    auto found = std::find_if(groups.begin(), groups.end(), same);
    if (found == groups.end())
      found = groups.insert(groups.end(), Group{rank.wait, rank.state, gone(rank)});
    found->ranks.push_back(i);
  }
  return groups;
}

// A collective that not all ranks are in: who is where.
std::string collective_reason(const std::vector<RankView> &ranks) {
  std::string text;
  std::vector<int> ended;
  std::size_t collectives = 0, others = 0;
  for (const Group &group : groups_of(ranks)) {
    if (group.gone) {
      ended = group.ranks;
      continue;
    }
    const bool collective = role_of(group.wait) == Role::collective;
    ++(collective ? collectives : others);
    const bool several = group.ranks.size() > 1;
    text += (text.empty() ? "" : ", ") + rank_names(group.ranks) +
            (collective ? std::string(several ? " are" : " is") + " in " + group.wait.operation
                        : std::string(several ? " wait " : " waits ") + purpose(group.wait, group.ranks[0])) +
            place_of(group.wait);
  }
  if (collectives == 0)
    return "";
  if (!ended.empty())
    text += ", " + rank_names(ended) + (ended.size() > 1 ? " have" : " has") + " ended";
  if (collectives > 1)
    return text + ": all ranks of a communicator must call the same collective operations, in the same order";
  return text + ": a collective operation ends when all ranks of its communicator have called it";
}

// Following who waits for whom from the smallest rank on: a circle, or a rank that has ended.
std::string chain_reason(const std::vector<RankView> &ranks) {
  const int count = static_cast<int>(ranks.size());
  for (int start = 0; start < count; ++start) {
    std::vector<int> path;
    int at = start;
    while (at >= 0 && at < count && waits(ranks[at]) && std::find(path.begin(), path.end(), at) == path.end()) {
      path.push_back(at);
      at = role_of(ranks[at].wait) == Role::collective ? mpi::no_peer : ranks[at].wait.peer;
    }
    if (path.empty() || at < 0 || at >= count)
      continue;
    if (gone(ranks[at])) {
      const Wait &last = ranks[path.back()].wait;
      return says(path.back(), last) + ", but rank " + std::to_string(at) + " has ended" +
             (role_of(last) == Role::send      ? ": nobody receives"
              : role_of(last) == Role::receive ? ": nobody sends"
                                               : "");
    }
    const auto first = std::find(path.begin(), path.end(), at);
    if (first == path.end())
      continue;
    std::string text;
    bool all_receive = true, all_send = true;
    const auto shown = std::min<std::ptrdiff_t>(path.end() - first, 8);
    for (auto i = first; i != path.end(); ++i) {
      const Role role = role_of(ranks[*i].wait);
      all_receive = all_receive && role == Role::receive;
      all_send = all_send && role == Role::send;
      if (i - first < shown)
        text += (text.empty() ? "" : ", ") + says(*i, ranks[*i].wait);
    }
    if (path.end() - first > shown)
      text += ", and so on in a circle of " + std::to_string(path.end() - first) + " ranks";
    return text + (all_receive ? ": nobody sends"
                   : all_send  ? ": nobody receives (a large message waits until it is received: let one side receive "
                                 "first, or use sendrecv or isend)"
                               : ": each waits for the other");
  }
  return "";
}

} // namespace

std::string what_ranks_do(const std::vector<RankView> &ranks) {
  std::string text;
  const std::vector<Group> groups = groups_of(ranks);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i == 16) {
      text += "  and " + std::to_string(groups.size() - i) + " more\n";
      break;
    }
    const Group &group = groups[i];
    const bool several = group.ranks.size() > 1;
    text += "  " + rank_names(group.ranks);
    if (group.gone) {
      text += several ? " have ended" : " has ended";
    } else if (group.state == RankState::waiting) {
      text += (several ? " wait " : " waits ") + purpose(group.wait, group.ranks[0]);
      if (group.wait.tag >= 0)
        text += ", tag " + std::to_string(group.wait.tag);
      if (group.wait.communicator[0])
        text += ", " + std::string(group.wait.communicator);
      text += place_of(group.wait);
    } else {
      text += several ? " compute" : " computes";
    }
    text += '\n';
  }
  // A script counts within its communicator.
  if (std::any_of(groups.begin(), groups.end(), [](const Group &group) {
        return !group.gone && group.state == RankState::waiting && group.wait.peer >= 0 &&
               std::string_view(group.wait.communicator) != "world";
      }))
    text += "  (ranks are numbered as in the world)\n";
  return text;
}

Standstill examine(const std::vector<RankView> &ranks, int64_t now, int64_t limit) {
  const int count = static_cast<int>(ranks.size());
  bool anybody = false, world = true;
  for (const RankView &rank : ranks) {
    if (gone(rank)) {
      world = false;
      continue;
    }
    if (!waits(rank) || now - rank.wait.since < limit)
      return {};
    anybody = true;
  }
  if (!anybody)
    return {};
  Standstill found;
  found.table = what_ranks_do(ranks);

  const auto first = std::find_if(ranks.begin(), ranks.end(), waits);
  for (const RankView &rank : ranks) // all in one collective
    world = world && role_of(rank.wait) == Role::collective &&
            std::string_view(rank.wait.operation) == first->wait.operation && same_communicator(rank.wait, first->wait);
  found.kind = world ? Standstill::Kind::transfer : Standstill::Kind::deadlock;
  for (int a = 0; a < count; ++a)
    for (int b = 0; b < count; ++b) {
      if (!face(ranks, a, b))
        continue;
      const Wait &receive = ranks[a].wait, &send = ranks[b].wait;
      if (same_communicator(receive, send) && tags_fit(receive, send)) {
        found.kind = Standstill::Kind::transfer;
      } else if (found.reason.empty()) {
        const bool tags = !tags_fit(receive, send);
        auto with = [&](const Wait &wait) {
          return tags ? " with tag " + std::to_string(wait.tag) : std::string(" in ") + wait.communicator;
        };
        found.reason = rank_name(b) + " waits " + purpose(send, b) + with(send) + place_of(send) + ", " + rank_name(a) +
                       " " + purpose(receive, a) + with(receive) + place_of(receive) + ": the " +
                       (tags ? "tags" : "communicators") + " differ";
      }
    }
  if (found.reason.empty())
    found.reason = chain_reason(ranks);
  if (found.reason.empty())
    found.reason = collective_reason(ranks);
  if (found.reason.empty())
    found.reason = says(static_cast<int>(first - ranks.begin()), first->wait) + ": nobody sends";
  return found;
}

} // namespace perigee::cli
