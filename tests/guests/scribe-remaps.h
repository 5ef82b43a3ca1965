/*
 * What else changes memory, or where it lies, each on pages FIRST to FIRST+COUNT of a region unless said otherwise:
 *   drop, free, remove, pageout, guard, unguard     madvise (remove only for shared memory; pageout answers how many went)
 *   punch, pwrite, truncate                         by the object's file descriptor; truncate to FIRST pages and back
 *   none, readonly, access                          mprotect
 *   over                                            MAP_FIXED of new memory
 *   move NAME, grow NAME PAGES, growmove NAME PAGES, shrink NAME PAGES      mremap, or brk
 *   merge NAME                                      madvise for KSM
 */
#ifndef SCRIBE_REMAPS_H
#define SCRIBE_REMAPS_H

#include "scribe-writes.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static bool advise(struct region *region, size_t first, size_t count, int advice, const char *name)
{
  if (!madvise(page_at(region, first), count * page_bytes, advice)) return true;
  return errno == EINVAL ? answer(",\"unavailable\":\"this kernel does not know %s here\"", name) : refuse(name);
}

static bool do_drop(struct region *region, size_t first, size_t count)
{
  if (!advise(region, first, count, MADV_DONTNEED, "MADV_DONTNEED")) return false;
  for (size_t i = first; i < first + count; i++) page_dropped(region, i);
  return true;
}

static bool do_free(struct region *region, size_t first, size_t count)
{
  if (!advise(region, first, count, MADV_FREE, "MADV_FREE")) return false;
  for (size_t i = first; i < first + count; i++) if (region->own[i] == OWN) region->own[i] = OWN_FREED;
  return true;
}

static bool do_pageout(struct region *region, size_t first, size_t count)
{
  size_t swapped = 0;
  if (!advise(region, first, count, MADV_PAGEOUT, "MADV_PAGEOUT")) return false;
  settle_freed(region);
  for (size_t i = first; i < first + count; i++) {
    uint64_t entry = 0;
    off_t at = (off_t)((uintptr_t)page_at(region, i) / page_bytes * sizeof entry);
    if (pread(pagemap_fd, &entry, sizeof entry, at) == sizeof entry) swapped += entry >> 63 ? 0 : 1;
  }
  answer(",\"absent\":%zu", swapped);
  return true;
}

static bool do_guard(struct region *region, size_t first, size_t count)
{
  errno = ENOTSUP; /* An object's page is hidden by it, and shows again: no page changes. */
  if (region->object) return refuse("guard");
  if (!advise(region, first, count, MADV_GUARD_INSTALL, "MADV_GUARD_INSTALL")) return false;
  for (size_t i = first; i < first + count; i++) {
    page_dropped(region, i);
    region->barred[i] = 1;
  }
  return true;
}

static bool do_unguard(struct region *region, size_t first, size_t count)
{
  if (!advise(region, first, count, MADV_GUARD_REMOVE, "MADV_GUARD_REMOVE")) return false;
  for (size_t i = first; i < first + count; i++) region->barred[i] = 0;
  return true;
}

static void object_emptied(struct object *object, size_t first, size_t count, bool copies_too)
{
  for (size_t i = first; i < first + count; i++) {
    for (struct region *region = regions; copies_too && region < regions + REGIONS_MAX; region++)
      if (region->live && region->object == object && i < region->pages && !region->shared) region->own[i] = OWN_NOT;
    object_changed(object, i, 0, true);
  }
}

static bool do_remove(struct region *region, size_t first, size_t count)
{
  if (!advise(region, first, count, MADV_REMOVE, "MADV_REMOVE")) return false;
  if (region->object) object_emptied(region->object, first, count, false);
  return true;
}

static bool has_file(const struct region *region)
{
  errno = EBADF;
  return region->object && region->object->fd >= 0;
}

static bool do_punch(struct region *region, size_t first, size_t count)
{
  if (!has_file(region)) return refuse("punch");
  off_t at = (off_t)(first * page_bytes), bytes = (off_t)(count * page_bytes);
  if (fallocate(region->object->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes)) return refuse("punch");
  object_emptied(region->object, first, count, false);
  return true;
}

/* Copies that a private mapping made go too: unmap_mapping_range() with even_cows, mm/truncate.c. */
static bool do_truncate(struct region *region, size_t first, size_t count)
{
  (void)count;
  if (!has_file(region)) return refuse("truncate");
  struct object *object = region->object;
  off_t whole = (off_t)(object->pages * page_bytes);
  if (ftruncate(object->fd, (off_t)(first * page_bytes)) || ftruncate(object->fd, whole)) return refuse("truncate");
  object_emptied(object, first, object->pages - first, true);
  return true;
}

static bool do_pwrite(struct region *region, size_t first, size_t count)
{
  if (!has_file(region) || !write_file(region->object->fd, first, count)) return refuse("pwrite");
  for (size_t i = first; i < first + count; i++) object_changed(region->object, i, ++last_version, false);
  return true;
}

static bool set_protection(struct region *region, size_t first, size_t count, int access)
{
  if (mprotect(page_at(region, first), count * page_bytes, access)) return refuse("mprotect");
  for (size_t i = first; i < first + count; i++) region->barred[i] = access != (PROT_READ | PROT_WRITE);
  return true;
}

static bool do_none(struct region *region, size_t first, size_t count) { return set_protection(region, first, count, PROT_NONE); }
static bool do_readonly(struct region *region, size_t first, size_t count) { return set_protection(region, first, count, PROT_READ); }
static bool do_access(struct region *region, size_t first, size_t count) { return set_protection(region, first, count, PROT_READ | PROT_WRITE); }

static bool do_over(struct region *region, size_t first, size_t count)
{
  errno = EINVAL;
  if (region->object) return refuse("over");
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(page_at(region, first), count * page_bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return refuse("over");
  (void)madvise(page_at(region, first), count * page_bytes, MADV_NOHUGEPAGE);
  for (size_t i = first; i < first + count; i++) {
    page_dropped(region, i);
    region->hole[i] = region->barred[i] = 0;
  }
  return true;
}

static bool do_unmap(struct region *region, size_t first, size_t count)
{
  return count == region->pages ? unmap_all(region) : unmap_part(region, first, count);
}

/* The mapping lies elsewhere now: at new addresses everything is new. */
static void all_known(struct region *region)
{
  region->fresh = true;
  for (size_t i = 0; i < region->pages; i++) {
    if (region->own[i] == OWN_NOT) continue;
    region->known[i] = 1;
    region->command[i] = command_number;
  }
}

static bool resize(struct region *region, size_t pages, int flags)
{
  errno = ERANGE;
  if (!pages || pages > REGION_PAGES_MAX) return refuse("mremap");
  void *at = region->start;
  if (region->brk) {
    if (page_at(region, region->pages) != (char *)sbrk(0)) return answer(",\"refused\":\"the heap has grown since\"");
    if (sbrk(((intptr_t)pages - (intptr_t)region->pages) * (intptr_t)page_bytes) == (void *)-1) return refuse("brk");
  } else at = mremap(region->start, region->pages * page_bytes, pages * page_bytes, flags);
  if (at == MAP_FAILED) return refuse("mremap");
  for (size_t i = pages; i < region->pages; i++) region->version[i] = region->own[i] = region->hole[i] = region->barred[i] = 0;
  region->pages = pages;
  if (at != region->start) all_known(region);
  region->start = at;
  answer_place(region);
  return true;
}

static struct region *movable(const char *name)
{
  struct region *region = find_region(name);
  errno = ENOENT;
  if (!region) return NULL;
  errno = EBUSY;
  if (is_spun(region)) return NULL;
  /* mremap takes one mapping: a part of other access, or a hole, makes several. */
  errno = EFAULT;
  for (size_t i = 0; i < region->pages; i++) if (!touchable(region, i)) return NULL;
  return region;
}

static bool command_grow(char **words)
{
  struct region *region = movable(words[0]);
  if (!region) return refuse("grow");
  size_t pages = region->pages + strtoul(words[1], NULL, 10);
  errno = ENOTSUP; /* Past its end a mapping of an object shows nothing. */
  return region->object ? refuse("grow") : resize(region, pages, 0);
}

static bool command_shrink(char **words)
{
  struct region *region = movable(words[0]);
  return region ? resize(region, region->pages - strtoul(words[1], NULL, 10), 0) : refuse("shrink");
}

/* A reservation says where there is room; the mapping takes its place. */
static bool move_to_new_place(struct region *region, size_t pages)
{
  errno = ENOTSUP;
  if (region->brk || region->sysv) return refuse("move");
  char *room = mmap(NULL, pages * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return refuse("mmap");
  void *at = mremap(region->start, region->pages * page_bytes, pages * page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  if (at == MAP_FAILED) return munmap(room, pages * page_bytes), refuse("mremap");
  region->start = at;
  region->pages = pages;
  all_known(region);
  answer_place(region);
  return true;
}

static bool command_move(char **words)
{
  struct region *region = movable(words[0]);
  return region ? move_to_new_place(region, region->pages) : refuse("move");
}

static bool command_growmove(char **words)
{
  struct region *region = movable(words[0]);
  errno = ERANGE;
  if (!region || region->object || region->pages + strtoul(words[1], NULL, 10) > REGION_PAGES_MAX) return refuse("growmove");
  return move_to_new_place(region, region->pages + strtoul(words[1], NULL, 10));
}

static bool command_merge(char **words)
{
  struct region *region = find_region(words[0]);
  errno = ENOENT;
  return region ? advise(region, 0, region->pages, MADV_MERGEABLE, "MADV_MERGEABLE") : refuse("merge");
}

#endif
