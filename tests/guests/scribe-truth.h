/*
 * What scribe's memory holds, page by page, so that what changed can be told without looking at it.
 *
 * Every page has a version: 0 while it holds zeros as the kernel gave them, else a number that no other content ever has.
 * A page of a mapped object (file, memfd, SysV segment) shows the object's version, unless the mapping is private and has
 * a copy of its own. `mark` keeps the versions by address; what differs later has changed, whatever happened in between.
 */
#ifndef SCRIBE_TRUTH_H
#define SCRIBE_TRUTH_H

#include "guest.h"
#include <fcntl.h>

#define REGIONS_MAX 192
#define OBJECTS_MAX 96
#define REGION_PAGES_MAX 4096
#define MARKED_MAX 131072

/* Every mapping of an object begins at its first page. */
struct object { int fd; size_t pages; uint64_t version[REGION_PAGES_MAX]; };

enum { OWN_NOT = 0, OWN = 1, OWN_FREED = 2 };

struct region {
  char name[24];
  bool live, shared, brk, sysv;
  /* Since the mark: was written by threads that nobody counts; has come, or come here. */
  bool restless, fresh;
  char *start;
  size_t pages;
  struct object *object;
  uint64_t version[REGION_PAGES_MAX];
  /* The command that changed the page last. */
  uint32_t command[REGION_PAGES_MAX];
  /* Whether it did so by way of this mapping, since the mark: then its page table could know. */
  uint8_t known[REGION_PAGES_MAX];
  /* Private memory: whether the page is a copy of the program's own. Shared: whether it was written here. */
  uint8_t own[REGION_PAGES_MAX];
  /* A hole where the mapping was: unmapped, or no access. */
  uint8_t hole[REGION_PAGES_MAX], barred[REGION_PAGES_MAX];
};

struct marked { uintptr_t page; uint64_t version; bool visited; };

static struct region regions[REGIONS_MAX];
static struct object objects[OBJECTS_MAX];
static struct marked marked[MARKED_MAX];
static size_t marked_count;
static uint64_t last_version;
static uint32_t command_number;
static int pagemap_fd = -1;

static char *page_at(const struct region *region, size_t page) { return region->start + page * page_bytes; }

static uint64_t version_of(const struct region *region, size_t page)
{
  if (region->hole[page]) return 0;
  bool shows_object = region->object && (region->shared || region->own[page] == OWN_NOT);
  return shows_object ? region->object->version[page] : region->version[page];
}

/* The object's page has become another by other means than these mappings. */
static void object_changed(struct object *object, size_t page, uint64_t version, bool unmapped)
{
  object->version[page] = version;
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++) {
    if (!region->live || region->object != object || page >= region->pages) continue;
    if (!region->shared && region->own[page] != OWN_NOT) continue;
    region->command[page] = command_number;
    if (unmapped) region->known[page] = 0;
  }
}

/* The page was written by way of this mapping. */
static void page_written(struct region *region, size_t page)
{
  uint64_t version = ++last_version;
  if (region->object && region->shared) object_changed(region->object, page, version, false);
  else region->version[page] = version;
  region->own[page] = OWN;
  region->known[page] = 1;
  region->command[page] = command_number;
}

/* The page lost what the program had written: private memory is zero again, a copy of a file's page shows the file. */
static void page_dropped(struct region *region, size_t page)
{
  region->own[page] = OWN_NOT;
  if (region->shared) return;
  region->version[page] = 0;
  region->known[page] = 1;
  region->command[page] = command_number;
}

/* Present, or in swap: a marker of somebody's tracking, of type 31, looks as if it was. */
static bool is_populated(const struct region *region, size_t page)
{
  uint64_t entry = 0;
  off_t at = (off_t)((uintptr_t)page_at(region, page) / page_bytes * sizeof entry);
  if (pread(pagemap_fd, &entry, sizeof entry, at) != sizeof entry) return false;
  return entry >> 63 || ((entry >> 62 & 1) && (entry & 31) != 31);
}

/* The kernel takes pages under MADV_FREE when it likes. */
static void settle_freed(struct region *region)
{
  for (size_t i = 0; i < region->pages; i++)
    if (region->own[i] == OWN_FREED && !region->hole[i] && !is_populated(region, i)) page_dropped(region, i);
}

static int by_page(const void *a, const void *b)
{
  uintptr_t left = ((const struct marked *)a)->page, right = ((const struct marked *)b)->page;
  return left < right ? -1 : left > right;
}

static void set_mark(void)
{
  marked_count = 0;
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++) {
    if (!region->live) continue;
    settle_freed(region);
    region->fresh = region->restless = false;
    for (size_t i = 0; i < region->pages; i++) {
      uint64_t version = version_of(region, i);
      region->known[i] = 0;
      if (!version) continue;
      if (marked_count == MARKED_MAX) die("more than %d pages to remember", MARKED_MAX);
      marked[marked_count++] = (struct marked){.page = (uintptr_t)page_at(region, i), .version = version};
    }
  }
  qsort(marked, marked_count, sizeof *marked, by_page);
}

static uint64_t marked_version(uintptr_t page)
{
  struct marked key = {.page = page}, *found = bsearch(&key, marked, marked_count, sizeof *marked, by_page);
  if (!found) return 0;
  found->visited = true;
  return found->version;
}

/*
 * written: content that a page table knows of     foreign: content that came by another way
 * fresh: shown by a mapping that is new, and not touched in it
 * zeroed: dropped, and read since: a page of zeros     dropped: a hole, of the address space, of the page table or of the object
 */
enum fate { SAME, WRITTEN, FOREIGN, FRESH, ZEROED, DROPPED, FATES };
static const char *const fate_names[FATES] = {"", "written", "foreign", "fresh", "zeroed", "dropped"};

static enum fate fate_of(struct region *region, size_t page)
{
  uint64_t now = version_of(region, page), then = marked_version((uintptr_t)page_at(region, page));
  if (now == then || region->restless) return SAME;
  if (region->hole[page]) return DROPPED;
  bool there = is_populated(region, page);
  if (!there && (!now || !region->object)) return DROPPED;
  if (!now && !region->object) return ZEROED;
  if (region->known[page]) return WRITTEN;
  return region->fresh ? FRESH : FOREIGN;
}

struct run { uintptr_t start, end; uint32_t command; bool any; };

static void print_run(const struct run *run, bool *first)
{
  if (run->any) printf("%s[\"%#" PRIxPTR "\",\"%#" PRIxPTR "\",%u]", *first ? "" : ",", run->start, run->end, run->command);
  if (run->any) *first = false;
}

static void add_to_run(struct run *run, uintptr_t page, uint32_t command, bool *first)
{
  if (!run->any || run->end != page || run->command != command) {
    print_run(run, first);
    *run = (struct run){.start = page, .command = command, .any = true};
  }
  run->end = page + page_bytes;
}

static void print_fate(enum fate fate)
{
  bool first = true;
  struct run run = {0};
  printf(",\"%s\":[", fate_names[fate]);
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++)
    for (size_t i = 0; region->live && i < region->pages; i++)
      if (fate_of(region, i) == fate) add_to_run(&run, (uintptr_t)page_at(region, i), region->command[i], &first);
  for (size_t i = 0; fate == DROPPED && i < marked_count; i++)
    if (!marked[i].visited) add_to_run(&run, marked[i].page, command_number, &first);
  print_run(&run, &first);
  printf("]");
}

static void print_since(void)
{
  for (size_t i = 0; i < marked_count; i++) marked[i].visited = false;
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++)
    if (region->live) settle_freed(region);
  for (enum fate fate = WRITTEN; fate < FATES; fate++) print_fate(fate);
}

#endif
