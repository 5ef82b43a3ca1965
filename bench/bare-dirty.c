/*
 * bare-dirty MIB DIRTY_PAGES
 *
 * The least that the last stop of a pre-copy can cost: one PAGEMAP_SCAN for the pages written
 * since they were marked, and process_vm_readv of those into memory that is already there.
 *
 * A child holds the memory, registers it and marks nothing itself; it writes DIRTY_PAGES random
 * pages when told to, then waits. So the figure has no stop and no registers in it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Linux 6.7's, for headers that are older than the kernel. */
#define WP_UNPOPULATED (1ull << 13)
#define WP_ASYNC (1ull << 15)
#define IS_WPALLOWED (1ull << 0)
#define IS_WRITTEN (1ull << 1)
#define WP_MATCHING (1ull << 0)
#define CHECK_WPASYNC (1ull << 1)
struct region { uint64_t start, end, categories; };
struct scan {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan)
#define USER_MODE_ONLY 1

enum { REGIONS = 4096, IOVECS = 1024 };

static struct region regions[REGIONS];
static struct iovec remote[IOVECS];
static size_t page_bytes, remote_count, copied;
static char *buffer;
static pid_t child;
static int from_child[2], to_child[2];

static uint64_t now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

__attribute__((noreturn)) static void skip(const char *what)
{
  printf("{\"skipped\":\"%s: %s\"}\n", what, strerror(errno));
  fflush(stdout);
  _exit(0);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
  uint64_t value = *state += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

/* What the parent reads from the child: 0 when the register call failed, with errno in the second. */
struct hello { uint64_t start; int error; };

static void tell(uint64_t start)
{
  struct hello hello = {start, errno};
  if (write(from_child[1], &hello, sizeof hello) != sizeof hello) _exit(1);
  if (!start) _exit(0);
}

static void await(void)
{
  char byte;
  if (read(to_child[0], &byte, 1) != 1) _exit(0);
}

__attribute__((noreturn)) static void be_child(size_t bytes, size_t dirty)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) tell(0);
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (size_t at = 0; at < bytes; at += page_bytes) memory[at] = 1;
  int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
  struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_UNPOPULATED | WP_ASYNC};
  struct uffdio_register all = {.range = {(uintptr_t)memory, bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all)) tell(0);
  tell((uintptr_t)memory);
  await();
  uint64_t random = 17, pages = bytes / page_bytes;
  char *written = calloc(pages, 1);
  for (size_t done = 0; done < dirty;) {
    uint64_t page = next_random(&random) % pages;
    if (written[page]) continue;
    written[page] = 1;
    ((volatile char *)memory)[page * page_bytes + 8]++;
    done++;
  }
  tell((uintptr_t)memory);
  await();
  _exit(0);
}

static void copy_found(void)
{
  if (!remote_count) return;
  size_t bytes = 0;
  for (size_t i = 0; i < remote_count; i++) bytes += remote[i].iov_len;
  struct iovec local = {buffer + copied, bytes};
  if (process_vm_readv(child, &local, 1, remote, remote_count, 0) != (ssize_t)bytes) skip("process_vm_readv");
  copied += bytes;
  remote_count = 0;
}

/*
 * Scans all of it; with `copy`, copies what was found as it goes. Returns the number of pages found.
 * The kernel gathers 512 regions at a time, and up to 6.18 at least leaves walk_end where the last
 * full 512 ended when it then comes to the end: going on from there would find the rest twice.
 */
static uint64_t scan(int pagemap, uint64_t start, uint64_t end, uint64_t flags, int copy)
{
  uint64_t pages = 0;
  while (start < end) {
    struct scan arg = {.size = sizeof arg, .flags = flags, .start = start, .end = end, .vec = (uintptr_t)regions,
                       .vec_len = REGIONS, .category_mask = IS_WRITTEN, .return_mask = IS_WRITTEN};
    int count = ioctl(pagemap, SCAN, &arg);
    if (count < 0) skip("PAGEMAP_SCAN");
    for (int i = 0; i < count; i++) {
      pages += (regions[i].end - regions[i].start) / page_bytes;
      if (!copy) continue;
      remote[remote_count++] = (struct iovec){(void *)(uintptr_t)regions[i].start, regions[i].end - regions[i].start};
      if (remote_count == IOVECS) copy_found();
    }
    start = count < REGIONS ? end : arg.walk_end > regions[count - 1].end ? arg.walk_end : regions[count - 1].end;
  }
  copy_found();
  return pages;
}

static uint64_t hear(void)
{
  struct hello hello;
  if (read(from_child[0], &hello, sizeof hello) != sizeof hello) { errno = EPIPE; skip("the child"); }
  errno = hello.error;
  if (!hello.start) skip("userfaultfd write-protection");
  return hello.start;
}

int main(int argc, char **argv)
{
  if (argc != 3) { fprintf(stderr, "usage: bare-dirty MIB DIRTY_PAGES\n"); return 2; }
  size_t bytes = strtoul(argv[1], NULL, 10) << 20, dirty = strtoul(argv[2], NULL, 10);
  page_bytes = (size_t)sysconf(_SC_PAGESIZE);
  if (!dirty || dirty > bytes / page_bytes) { fprintf(stderr, "bare-dirty: %zu pages of %zu MiB\n", dirty, bytes >> 20); return 2; }
  if (pipe(from_child) || pipe(to_child)) skip("pipe");
  child = fork();
  if (child == 0) be_child(bytes, dirty);
  close(from_child[1]);
  close(to_child[0]);
  buffer = malloc(dirty * page_bytes);
  memset(buffer, 1, dirty * page_bytes);
  uint64_t start = hear();
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/pagemap", (int)child);
  int pagemap = open(path, O_RDONLY | O_CLOEXEC);
  if (pagemap < 0) skip(path);
  uint64_t began = now_ns();
  scan(pagemap, start, start + bytes, WP_MATCHING | CHECK_WPASYNC, 0);
  uint64_t armed = now_ns();
  if (write(to_child[1], "w", 1) != 1) skip("write");
  hear();
  uint64_t asked = now_ns();
  uint64_t pages = scan(pagemap, start, start + bytes, 0, 1);
  uint64_t ended = now_ns();
  kill(child, SIGKILL);
  printf("{\"armingNs\":%" PRIu64 ",\"pauseNs\":%" PRIu64 ",\"pages\":%" PRIu64 "}\n", armed - began, ended - asked, pages);
  return 0;
}
