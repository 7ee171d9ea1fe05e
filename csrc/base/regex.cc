/* The only C++ of the core. RE2 allocates by itself: what it throws becomes MC_ENOMEM here and goes no further. */
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <re2/re2.h>
#include <re2/set.h>

extern "C" {
#include "base/regex.h"
}

struct mc_regex {
    RE2 re;
    explicit mc_regex(const re2::StringPiece &pattern) : re(pattern, RE2::Quiet) {}
};

/* A set that is too large for one automaton is cut into several. */
struct mc_regex_set {
    struct part {
        uint32_t first;
        std::unique_ptr<RE2::Set> set;
    };
    std::vector<part> parts;
    std::vector<mc_regex_member> members; /* for when an automaton runs out of its memory; without pattern */
};

static re2::StringPiece piece(mc_slice s) { return re2::StringPiece(s.p == nullptr ? "" : s.p, s.n); }

template <typename T> static void drop(void *object) { delete static_cast<T *>(object); }

/* Hands `object` to the arena. */
template <typename T> static mc_status keep(mc_arena *arena, std::unique_ptr<T> object, const T **out) {
    mc_status status = mc_arena_defer(arena, drop<T>, object.get());
    if (status == MC_OK) {
        *out = object.release();
    }
    return status;
}

mc_status mc_regex_compile(mc_arena *arena, mc_slice pattern, uint32_t max_program_size, const mc_regex **out,
                           mc_error *error) try {
    auto regex = std::make_unique<mc_regex>(piece(pattern));
    if (!regex->re.ok()) {
        return mc_error_set(error, MC_EINVAL, "", "is no regular expression of RE2: %s", regex->re.error().c_str());
    }
    int size = regex->re.ProgramSize();
    if (max_program_size > 0 && size > static_cast<int64_t>(max_program_size)) {
        return mc_error_set(error, MC_EINVAL, "", "has a program of size %d, more than %u", size, max_program_size);
    }
    return keep(arena, std::move(regex), out);
} catch (...) {
    return MC_ENOMEM;
}

int mc_regex_full(const mc_regex *regex, mc_slice text) { return mc_regex_full_from(regex, text, 0); }

int mc_regex_full_from(const mc_regex *regex, mc_slice text, size_t start) try {
    return regex->re.Match(piece(text), start, text.n, RE2::ANCHOR_BOTH, nullptr, 0);
} catch (...) {
    return MC_ENOMEM;
}

int mc_regex_find(const mc_regex *regex, mc_slice text) try {
    return regex->re.Match(piece(text), 0, text.n, RE2::UNANCHORED, nullptr, 0);
} catch (...) {
    return MC_ENOMEM;
}

int mc_regex_group_count(const mc_regex *regex) { return regex->re.NumberOfCapturingGroups(); }

int mc_regex_groups(const mc_regex *regex, mc_slice text, size_t start, mc_slice *groups, int count) try {
    std::vector<re2::StringPiece> found(static_cast<size_t>(count) + 1);
    if (!regex->re.Match(piece(text), start, text.n, RE2::ANCHOR_BOTH, found.data(), count + 1)) {
        return 0;
    }
    for (int i = 0; i < count; i++) {
        const re2::StringPiece &group = found[static_cast<size_t>(i) + 1];
        groups[i] = mc_slice_of(group.data(), group.size());
    }
    return 1;
} catch (...) {
    return MC_ENOMEM;
}

mc_status mc_regex_replace(const mc_regex *regex, mc_slice text, mc_slice with, mc_arena *arena, mc_slice *out) try {
    std::string result(text.p == nullptr ? "" : text.p, text.n);
    RE2::GlobalReplace(&result, regex->re, piece(with));
    return mc_arena_dup(arena, mc_slice_of(result.data(), result.size()), out);
} catch (...) {
    return MC_ENOMEM;
}

/* --- sets --- */

static RE2::Options set_options(size_t count) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem((int64_t{16} << 20) + static_cast<int64_t>(count) * 8192);
    return options;
}

static mc_status add_part(mc_regex_set *set, const mc_regex_member *members, uint32_t first, uint32_t count,
                          mc_error *error) {
    auto part = std::make_unique<RE2::Set>(set_options(count), RE2::ANCHOR_BOTH);
    for (uint32_t i = 0; i < count; i++) {
        std::string reason;
        if (part->Add(piece(members[first + i].pattern), &reason) < 0) {
            return mc_error_set(error, MC_EINVAL, "", "%s", reason.c_str());
        }
    }
    if (part->Compile()) {
        set->parts.push_back({first, std::move(part)});
        return MC_OK;
    }
    if (count == 1) {
        return mc_error_set(error, MC_EINVAL, "", "is too large");
    }
    mc_status status = add_part(set, members, first, count / 2, error);
    return status != MC_OK ? status : add_part(set, members, first + count / 2, count - count / 2, error);
}

mc_status mc_regex_set_compile(mc_arena *arena, const mc_regex_member *members, uint32_t count,
                               const mc_regex_set **out, mc_error *error) try {
    auto set = std::make_unique<mc_regex_set>();
    set->members.assign(members, members + count);
    mc_status status = count == 0 ? MC_OK : add_part(set.get(), members, 0, count, error);
    return status != MC_OK ? status : keep(arena, std::move(set), out);
} catch (...) {
    return MC_ENOMEM;
}

static bool matches(const mc_regex_member &member, re2::StringPiece text) {
    const size_t n = member.literal.n;
    return text.size() >= n && (n == 0 || std::memcmp(text.data(), member.literal.p, n) == 0) &&
           member.rest->re.Match(text, n, text.size(), RE2::ANCHOR_BOTH, nullptr, 0);
}

static void match_part(const mc_regex_set *set, const mc_regex_set::part &part, uint32_t end, re2::StringPiece text,
                       std::vector<uint32_t> *found) {
    std::vector<int> indices;
    RE2::Set::ErrorInfo info{};
    if (part.set->Match(text, &indices, &info)) {
        for (int index : indices) {
            found->push_back(part.first + static_cast<uint32_t>(index));
        }
    } else if (info.kind == RE2::Set::kOutOfMemory) {
        for (uint32_t i = part.first; i < end; i++) {
            if (matches(set->members[i], text)) {
                found->push_back(i);
            }
        }
    }
}

mc_status mc_regex_set_match(const mc_regex_set *set, mc_slice text, mc_arena *arena, const uint32_t **found,
                             uint32_t *count) try {
    std::vector<uint32_t> all;
    *count = 0;
    *found = nullptr;
    for (size_t i = 0; i < set->parts.size(); i++) {
        size_t end = i + 1 < set->parts.size() ? set->parts[i + 1].first : set->members.size();
        match_part(set, set->parts[i], static_cast<uint32_t>(end), piece(text), &all);
    }
    if (all.empty()) {
        return MC_OK;
    }
    std::sort(all.begin(), all.end());
    auto *copy = static_cast<uint32_t *>(mc_arena_alloc(arena, all.size() * sizeof(uint32_t)));
    if (copy == nullptr) {
        return MC_ENOMEM;
    }
    std::copy(all.begin(), all.end(), copy);
    *found = copy;
    *count = static_cast<uint32_t>(all.size());
    return MC_OK;
} catch (...) {
    return MC_ENOMEM;
}
