/*
 * What pagekinds.c says of its memory: regions, each a mapping between two pages of PROT_NONE so that it never merges with
 * another, and a drawing of what its pages are, by count and sign, such as "3=2z11-":
 *   = mapped   + mapped and written since it was protected   z the page of zeros   c cached, not mapped   s in swap
 *   f fallocated   - hole   u in its file only   g guard   p poisoned   e past the end of the file   ? not to be told
 */
#ifndef PAGEKINDS_REGIONS_H
#define PAGEKINDS_REGIONS_H

#include "guest.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#define REGIONS_MAX 64
static struct region { const char *name; char *start; size_t pages; const char *drawing; } regions[REGIONS_MAX];
static size_t region_count;

static void add_region(const char *name, char *start, size_t pages, const char *drawing)
{
  if (region_count == REGIONS_MAX) die("too many regions");
  regions[region_count++] = (struct region){name, start, pages, drawing};
}

/* Maps pages that nothing merges with. */
static char *map_apart(size_t pages, int protection, int flags, int fd)
{
  char *around = mmap(NULL, (pages + 2) * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (around == MAP_FAILED) die("reserving %zu pages: %s", pages, strerror(errno));
  char *at = mmap(around + page_bytes, pages * page_bytes, protection, flags | MAP_FIXED, fd, 0);
  if (at == MAP_FAILED) die("mmap of %zu pages: %s", pages, strerror(errno));
  if (!(flags & MAP_HUGETLB)) (void)madvise(at, pages * page_bytes, MADV_NOHUGEPAGE);
  /* Neighbours that nobody touched are not to be mapped or read too. */
  (void)madvise(at, pages * page_bytes, MADV_RANDOM);
  return at;
}

static char *anon_apart(size_t pages) { return map_apart(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }

static void write_pages(char *at, size_t first, size_t count)
{
  for (size_t i = first; i < first + count; i++) *first_word(at + i * page_bytes) = mix(i);
}

static void read_pages(char *at, size_t first, size_t count)
{
  for (size_t i = first; i < first + count; i++) (void)*first_word(at + i * page_bytes);
}

/* Writes pages of a file by write(2): cached, and mapped by nobody. */
static void fill_file(int fd, size_t first, size_t count)
{
  char page[page_bytes];
  memset(page, 'x', page_bytes);
  for (size_t i = first; i < first + count; i++)
    if (pwrite(fd, page, page_bytes, (off_t)(i * page_bytes)) != (ssize_t)page_bytes) die("pwrite: %s", strerror(errno));
}

static int memory_file(const char *name, size_t pages, unsigned flags)
{
  int fd = memfd_create(name, MFD_CLOEXEC | flags);
  if (fd < 0) return -1;
  if (ftruncate(fd, (off_t)(pages * page_bytes))) die("ftruncate: %s", strerror(errno));
  return fd;
}

/* One userfaultfd for all: resolved by the kernel, marking what is not there too, and able to poison. */
#define FEATURE_WP_UNPOPULATED (1 << 13)
#define FEATURE_POISON (1 << 14)
#define FEATURE_WP_ASYNC (1 << 15)
#define FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
struct poison { struct uffdio_range range; uint64_t mode; int64_t updated; };
#define IOCTL_POISON _IOWR(UFFDIO, 0x08, struct poison)

/* -1 where this kernel has no such thing. */
static int open_marker(void)
{
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_UNPOPULATED | FEATURE_POISON | FEATURE_WP_ASYNC | FEATURE_WP_HUGETLBFS_SHMEM};
  if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api)) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

static void follow(int marker, char *at, size_t pages)
{
  struct uffdio_register reg = {.range = {(uintptr_t)at, pages * page_bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  if (ioctl(marker, UFFDIO_REGISTER, &reg)) die("UFFDIO_REGISTER: %s", strerror(errno));
}

static void protect(int marker, char *at, size_t pages)
{
  follow(marker, at, pages);
  struct uffdio_writeprotect wp = {.range = {(uintptr_t)at, pages * page_bytes}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  if (ioctl(marker, UFFDIO_WRITEPROTECT, &wp)) die("UFFDIO_WRITEPROTECT: %s", strerror(errno));
}

static void print_regions(void)
{
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"pagekinds\",\"pageBytes\":%zu,\"regions\":[", (int)getpid(), page_bytes);
  for (size_t i = 0; i < region_count; i++)
    printf("%s{\"name\":\"%s\",\"start\":\"%p\",\"pages\":%zu,\"drawing\":\"%s\"}", i ? "," : "", regions[i].name, (void *)regions[i].start,
           regions[i].pages, regions[i].drawing);
  printf("]}\n");
  fflush(stdout);
}

#endif
