/*
 * The kinds of memory that scribe makes, each a region with a name:
 *   map NAME KIND PAGES     alias NAME OF     unmap NAME [FIRST COUNT]     forget NAME (nothing is unmapped)
 * Kinds: anon, apart (anonymous, with room to grow), thp, hugetlb, heap, brk, stack (in main's frame), deep (below it: the
 * stack grows), data, bss, shared (anonymous), memfd, private-memfd, file (shared), private-file, sysv, owned (the program's own
 * userfaultfd holds it).
 */
#ifndef SCRIBE_REGIONS_H
#define SCRIBE_REGIONS_H

#include "scribe-truth.h"
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/shm.h>

#define STACK_PAGES 128
#define DATA_PAGES 128
#define APART_BYTES (64ull << 20)
#define DEEP_BYTES (192u << 10)
/* Where nothing else comes to lie, on machines of 47 bits of address and more. */
#define APART_START 0x200000000000ull

static char data_area[DATA_PAGES * 4096] __attribute__((aligned(4096))) = {1};
static char bss_area[DATA_PAGES * 4096] __attribute__((aligned(4096)));
static char *stack_area;
static size_t stack_taken, data_taken, bss_taken, apart_taken, deep_taken, files_made;

/* What the command says beside its name; see `answer` in scribe.c. */
static char answer_text[512];

__attribute__((format(printf, 1, 2))) static bool answer(const char *format, ...)
{
  va_list args;
  size_t length = strlen(answer_text);
  va_start(args, format);
  vsnprintf(answer_text + length, sizeof answer_text - length, format, args);
  va_end(args);
  return false;
}

/* The command has done nothing: it makes no sense, or the kernel does not want it. */
#define refuse(what) answer(",\"refused\":\"%s: %s\"", what, strerror(errno))
#define unavailable(why) answer(",\"unavailable\":\"%s\"", why)

static struct region *find_region(const char *name)
{
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++)
    if (region->live && !strcmp(region->name, name)) return region;
  return NULL;
}

static struct region *new_region(const char *name, size_t pages)
{
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++) {
    if (region->live) continue;
    memset(region, 0, sizeof *region);
    region->fresh = true;
    snprintf(region->name, sizeof region->name, "%s", name);
    region->pages = pages;
    return region;
  }
  return NULL;
}

static struct object *new_object(int fd, size_t pages, bool filled)
{
  for (struct object *object = objects; object < objects + OBJECTS_MAX; object++) {
    bool used = false;
    for (struct region *region = regions; region < regions + REGIONS_MAX; region++) used |= region->live && region->object == object;
    if (used) continue;
    if (object->fd > 0) close(object->fd);
    memset(object, 0, sizeof *object);
    object->fd = fd;
    object->pages = pages;
    for (size_t i = 0; filled && i < pages; i++) object->version[i] = ++last_version;
    return object;
  }
  die("more than %d objects", OBJECTS_MAX);
}

/* Content that no page ever held before: a page of words that follow from the version. */
static void fill_words(void *at, size_t bytes)
{
  static uint64_t filled;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    /* Unlike the words that `write` draws from a version. */
    uint64_t word = mix(++filled | 1ull << 63);
    memcpy((char *)at + i, &word, sizeof word);
  }
}

static bool write_file(int fd, size_t first, size_t pages)
{
  static char page[65536] __attribute__((aligned(4096)));
  for (size_t i = first; i < first + pages; i++) {
    fill_words(page, page_bytes);
    if (pwrite(fd, page, page_bytes, (off_t)(i * page_bytes)) != (ssize_t)page_bytes) return false;
  }
  return true;
}

static int make_file(size_t pages, int flags)
{
  char name[64];
  /* In the current directory, which the harness makes and removes. */
  snprintf(name, sizeof name, "scribe-%d-%zu.data", (int)getpid(), files_made++);
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || !write_file(fd, 0, pages) || fsync(fd)) return -1;
  if (!flags) return fd;
  int direct = open(name, O_RDONLY | O_CLOEXEC | flags);
  close(fd);
  return direct;
}

static char *map_object(struct region *region, const char *kind)
{
  bool is_file = !strcmp(kind, "file") || !strcmp(kind, "private-file");
  size_t bytes = region->pages * page_bytes;
  int fd = is_file ? make_file(region->pages, 0) : memfd_create("scribe", MFD_CLOEXEC);
  if (fd < 0 || (!is_file && ftruncate(fd, (off_t)bytes))) return MAP_FAILED;
  region->object = new_object(fd, region->pages, is_file);
  region->shared = strncmp(kind, "private", 7) != 0;
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, region->shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
}

static char *map_sysv(struct region *region)
{
  int id = shmget(IPC_PRIVATE, region->pages * page_bytes, IPC_CREAT | 0600);
  if (id < 0) return MAP_FAILED;
  char *at = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  region->shared = region->sysv = true;
  region->object = new_object(-1, region->pages, false);
  return at == (char *)-1 ? MAP_FAILED : at;
}

static char *map_brk(struct region *region)
{
  uintptr_t end = (uintptr_t)sbrk(0), start = (end + page_bytes - 1) / page_bytes * page_bytes;
  if (sbrk((intptr_t)(start - end + region->pages * page_bytes)) == (void *)-1) return MAP_FAILED;
  region->brk = true;
  return (char *)start;
}

/* A piece of memory that is there from the start. */
static char *take_from(char *area, size_t *taken, size_t pages, size_t limit)
{
  errno = ENOSPC;
  if (*taken + pages > limit) return MAP_FAILED;
  *taken += pages;
  return area + (*taken - pages) * page_bytes;
}

static char *map_owned(struct region *region)
{
  char *at = map_pages(region->pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.range = {(uintptr_t)at, region->pages * page_bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  /* Registered and not protected: nobody is made to wait, and nobody else can register it. */
  if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range)) return MAP_FAILED;
  return at;
}

static char *map_kind(struct region *region, const char *kind)
{
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS, access = PROT_READ | PROT_WRITE;
  size_t bytes = region->pages * page_bytes;
  if (!strcmp(kind, "anon")) return mmap(NULL, bytes, access, anonymous, -1, 0);
  if (!strcmp(kind, "apart"))
    return mmap((void *)(uintptr_t)(APART_START + apart_taken++ * APART_BYTES), bytes, access, anonymous | MAP_FIXED_NOREPLACE, -1, 0);
  if (!strcmp(kind, "thp")) return map_aligned(bytes, MADV_HUGEPAGE);
  if (!strcmp(kind, "hugetlb")) return mmap(NULL, bytes, access, anonymous | MAP_HUGETLB, -1, 0);
  if (!strcmp(kind, "heap")) return memalign(page_bytes, bytes);
  if (!strcmp(kind, "brk")) return map_brk(region);
  if (!strcmp(kind, "stack")) return take_from(stack_area, &stack_taken, region->pages, STACK_PAGES);
  if (!strcmp(kind, "data")) return take_from(data_area, &data_taken, region->pages, DATA_PAGES);
  if (!strcmp(kind, "bss")) return take_from(bss_area, &bss_taken, region->pages, DATA_PAGES);
  if (!strcmp(kind, "deep")) {
    deep_taken += bytes;
    return (char *)((uintptr_t)__builtin_frame_address(0) / page_bytes * page_bytes - DEEP_BYTES - deep_taken);
  }
  if (!strcmp(kind, "sysv")) return map_sysv(region);
  if (!strcmp(kind, "owned")) return map_owned(region);
  if (!strcmp(kind, "shared")) {
    region->object = new_object(-1, region->pages, false);
    region->shared = true;
    return mmap(NULL, bytes, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }
  return map_object(region, kind);
}

static void answer_place(const struct region *region)
{
  answer(",\"start\":\"%p\",\"end\":\"%p\"", (void *)region->start, (void *)page_at(region, region->pages));
}

static bool command_map(char **words)
{
  size_t pages = strtoul(words[2], NULL, 10);
  struct region *region = new_region(words[0], pages);
  errno = ENOSPC;
  if (!region || !pages || pages > REGION_PAGES_MAX) return refuse("map");
  char *at = map_kind(region, words[1]);
  if (at == MAP_FAILED || !at) return strcmp(words[1], "hugetlb") ? refuse("map") : unavailable("no huge pages are reserved (vm.nr_hugepages)");
  region->start = at;
  /* What is here already is not zero: of heap, data and bss nothing is known before it is written. */
  if (!strcmp(words[1], "heap") || !strcmp(words[1], "data") || !strcmp(words[1], "bss") || !strcmp(words[1], "stack"))
    for (size_t i = 0; i < pages; i++) region->version[i] = is_populated(region, i) ? ++last_version : 0;
  if (!strcmp(words[1], "anon") || !strcmp(words[1], "apart")) (void)madvise(at, pages * page_bytes, MADV_NOHUGEPAGE);
  region->live = true;
  answer_place(region);
  return true;
}

static bool command_alias(char **words)
{
  struct region *of = find_region(words[1]), *region = of ? new_region(words[0], of->pages) : NULL;
  errno = EINVAL;
  if (!region || !of->object || of->object->fd < 0) return refuse("alias");
  region->start = mmap(NULL, of->pages * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, of->object->fd, 0);
  if (region->start == MAP_FAILED) return refuse("alias");
  region->object = of->object;
  region->shared = region->live = true;
  answer_place(region);
  return true;
}

static bool command_forget(char **words)
{
  struct region *region = find_region(words[0]);
  errno = ENOENT;
  if (!region) return refuse("forget");
  region->live = false;
  return true;
}

/* A part of it stays a hole of the region, which nobody touches any more. */
static bool unmap_part(struct region *region, size_t first, size_t count)
{
  if (munmap(page_at(region, first), count * page_bytes)) return refuse("munmap");
  for (size_t i = first; i < first + count; i++) region->hole[i] = 1;
  return true;
}

static bool unmap_all(struct region *region)
{
  if (region->brk && page_at(region, region->pages) != (char *)sbrk(0)) return answer(",\"refused\":\"the heap has grown since\"");
  if (region->brk) (void)sbrk(-(intptr_t)(region->pages * page_bytes));
  else if (region->sysv && shmdt(region->start)) return refuse("shmdt");
  else if (!region->sysv && munmap(region->start, region->pages * page_bytes)) return refuse("munmap");
  region->live = false;
  return true;
}

#endif
