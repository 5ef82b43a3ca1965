/*
 * pagekinds [swap | spread MIB]
 *
 * Makes pages of every kind on purpose and says what each is: see pagekinds-regions.h. Then it sleeps. With `swap`, it has some
 * paged out, for which the machine needs swap. What a kernel lacks is left out. With `spread`, it has only that much private
 * and that much shared memory, where every other page is there: nothing is harder to tell.
 */
#include "pagekinds-regions.h"

#define MADV_GUARD_INSTALL_NUMBER 102
#define MADV_PAGEOUT_NUMBER 21
#define HUGE_PAGES 512

static void anonymous(void)
{
  char *at = anon_apart(16);
  write_pages(at, 0, 3);
  read_pages(at, 4, 2);
  add_region("anon", at, 16, "3=1-2z10-");
  add_region("untouched", anon_apart(1 << 18), 1 << 18, "262144-");
  /* Each page unlike the one before. */
  at = anon_apart(64);
  static char drawing[256];
  for (size_t i = 0; i < 64; i += 2) {
    write_pages(at, i, 1);
    strcat(drawing, "1=1-");
  }
  add_region("alternating", at, 64, drawing);
  at = anon_apart(8);
  write_pages(at, 0, 8);
  if (mprotect(at, 8 * page_bytes, PROT_NONE)) die("mprotect: %s", strerror(errno));
  add_region("no access", at, 8, "8=");
}

static void guards(void)
{
  char *at = anon_apart(16);
  write_pages(at, 0, 8);
  if (madvise(at + 4 * page_bytes, 6 * page_bytes, MADV_GUARD_INSTALL_NUMBER)) return;
  add_region("guard", at, 16, "4=6g6-");
}

static void huge_pages(void)
{
  char *at = map_aligned(2 * HUGE_PAGES * page_bytes, MADV_HUGEPAGE);
  write_pages(at, 0, 1);
  unsigned char there;
  /* Without a free huge page this is one small one. */
  if (mincore(at + page_bytes, page_bytes, &there)) die("mincore: %s", strerror(errno));
  add_region("thp", at, 2 * HUGE_PAGES, there & 1 ? "512=512-" : "1=1023-");
}

static void hugetlb(int marker)
{
  char *at = mmap(NULL, 2 * HUGE_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (at == MAP_FAILED) return;
  write_pages(at, HUGE_PAGES, 1);
  add_region("hugetlb", at, 2 * HUGE_PAGES, "512-512=");
  int fd = memory_file("hugetlb", HUGE_PAGES, MFD_HUGETLB);
  char *first = fd < 0 ? MAP_FAILED : mmap(NULL, HUGE_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (first == MAP_FAILED) return;
  char *second = mmap(NULL, HUGE_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (second == MAP_FAILED) die("mmap of hugetlb again: %s", strerror(errno));
  write_pages(first, 0, 1);
  add_region("hugetlb memfd", first, HUGE_PAGES, "512=");
  add_region("hugetlb memfd again", second, HUGE_PAGES, "512c");
  fd = memory_file("hugetlb half", 2 * HUGE_PAGES, MFD_HUGETLB);
  first = mmap(NULL, 2 * HUGE_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (first == MAP_FAILED) return;
  second = mmap(NULL, 2 * HUGE_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (second == MAP_FAILED) die("mmap of hugetlb again: %s", strerror(errno));
  if (marker >= 0) protect(marker, first, 2 * HUGE_PAGES);
  write_pages(first, 0, 1);
  /* The kernel tells how many of a file's huge pages there are, and not which. */
  add_region("hugetlb memfd in part", first, 2 * HUGE_PAGES, marker >= 0 ? "512+512-" : "512=512-");
  add_region("hugetlb memfd in part again", second, 2 * HUGE_PAGES, "1024?");
}

static void shared_memory(void)
{
  int fd = memory_file("twice", 16, 0);
  char *first = map_apart(16, PROT_READ | PROT_WRITE, MAP_SHARED, fd), *second = map_apart(16, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  char *copy = map_apart(16, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  write_pages(first, 0, 8);
  write_pages(second, 4, 2);
  write_pages(copy, 6, 1);
  if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)(8 * page_bytes), (off_t)(4 * page_bytes))) die("fallocate: %s", strerror(errno));
  add_region("memfd", first, 16, "8=4f4-");
  add_region("memfd again", second, 16, "4c2=2c4f4-");
  add_region("memfd copied on write", copy, 16, "6c1=1c4f4-");
  close(fd);
  fd = memory_file("reserved", 8, 0);
  if (fallocate(fd, 0, 0, (off_t)(8 * page_bytes))) die("fallocate: %s", strerror(errno));
  add_region("fallocated", map_apart(8, PROT_READ | PROT_WRITE, MAP_SHARED, fd), 8, "8f");
  char *at = map_apart(8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
  write_pages(at, 2, 2);
  add_region("shared anonymous", at, 8, "2-2=4-");
  fd = memory_file("offset", 16, 0);
  fill_file(fd, 8, 2);
  fill_file(fd, 12, 1);
  at = mmap(NULL, 12 * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(6 * page_bytes));
  if (at == MAP_FAILED) die("mmap: %s", strerror(errno));
  add_region("memfd from its page 6 on", at, 12, "2-2c2-1c3-2e");
}

/* 14 pages: 0 to 7 cached, 8 to 11 on disk only, 12 and 13 a hole. Read one by one, so that no large folio holds several. */
static int mixed_file(const char *name)
{
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) die("open %s: %s", name, strerror(errno));
  fill_file(fd, 0, 12);
  if (ftruncate(fd, (off_t)(14 * page_bytes)) || fsync(fd)) die("%s: %s", name, strerror(errno));
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  char page[page_bytes];
  for (size_t i = 0; i < 8; i++)
    if (pread(fd, page, page_bytes, (off_t)(i * page_bytes)) != (ssize_t)page_bytes) die("pread: %s", strerror(errno));
  return fd;
}

static void files(void)
{
  int fd = mixed_file("private");
  char *at = map_apart(16, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
  write_pages(at, 0, 2);
  add_region("private file", at, 16, "2=6c4u2-2e");
  fd = mixed_file("shared");
  at = map_apart(16, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  write_pages(at, 1, 2);
  add_region("shared file", at, 16, "1c2=5c4u2-2e");
}

/* Marks of write-protection and of poison where no page is. */
static void markers(int marker)
{
  char *at = anon_apart(16);
  write_pages(at, 0, 4);
  protect(marker, at, 16);
  write_pages(at, 1, 1);
  write_pages(at, 8, 1);
  add_region("marked", at, 16, "1=1+2=4-1+7-");
  int fd = memory_file("marked", 16, 0);
  fill_file(fd, 0, 8);
  at = map_apart(16, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  protect(marker, at, 16);
  write_pages(at, 2, 1);
  add_region("marked memfd", at, 16, "2c1+5c8-");
  at = map_apart(16, PROT_READ | PROT_WRITE, MAP_PRIVATE, mixed_file("marked"));
  write_pages(at, 0, 1);
  protect(marker, at, 16);
  write_pages(at, 1, 1);
  add_region("marked file", at, 16, "1=1+6c4u2-2e");
  at = anon_apart(8);
  write_pages(at, 0, 2);
  /* Not protected: a page that is marked cannot be poisoned too. */
  follow(marker, at, 8);
  struct poison poison = {.range = {(uintptr_t)(at + 6 * page_bytes), 2 * page_bytes}};
  if (!ioctl(marker, IOCTL_POISON, &poison)) add_region("poisoned", at, 8, "2+4-2p");
}

/* Some pages are in no list that reclaim looks at yet when they were just written: again, then. */
static void page_out(char *at, size_t pages)
{
  char resident[pages];
  for (int i = 0; i < 100; i++) {
    if (madvise(at, pages * page_bytes, MADV_PAGEOUT_NUMBER)) die("MADV_PAGEOUT: %s", strerror(errno));
    if (mincore(at, pages * page_bytes, (unsigned char *)resident)) die("mincore: %s", strerror(errno));
    size_t still = 0;
    for (size_t page = 0; page < pages; page++) still += resident[page] & 1;
    if (still == 0) return;
    sleep_ns(20000000);
  }
  skip("pages do not go to swap here");
}

static void swapped(int marker)
{
  char *at = anon_apart(64);
  write_pages(at, 0, 48);
  page_out(at, 32);
  add_region("swapped", at, 64, "32s16=16-");
  int fd = memory_file("swapped", 64, 0);
  at = map_apart(64, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  write_pages(at, 0, 40);
  page_out(at, 32);
  add_region("swapped memfd", at, 64, "32s8=24-");
  /* Brings neighbours of the page along, which then are in memory, in the swap cache, and still in swap. */
  fd = memory_file("swap cache", 64, 0);
  at = map_apart(64, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  write_pages(at, 0, 64);
  page_out(at, 64);
  char page[page_bytes];
  if (pread(fd, page, page_bytes, 16 * (off_t)page_bytes) != (ssize_t)page_bytes) die("pread: %s", strerror(errno));
  add_region("swap cache", at, 64, "16s1c47s");
  if (marker < 0) return;
  at = anon_apart(32);
  write_pages(at, 0, 16);
  protect(marker, at, 32);
  page_out(at, 8);
  add_region("marked and swapped", at, 32, "8s8=16-");
}

static void spread(size_t mib)
{
  const size_t pages = (mib << 20) / page_bytes;
  char *at = anon_apart(pages);
  int fd = memory_file("spread", pages, 0);
  for (size_t i = 0; i < pages; i += 2) {
    write_pages(at, i, 1);
    fill_file(fd, i, 1);
  }
  add_region("spread", at, pages, "");
  add_region("spread memfd", map_apart(pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd), pages, "");
}

static void all_kinds(bool with_swap)
{
  int marker = open_marker();
  anonymous();
  guards();
  huge_pages();
  hugetlb(marker);
  shared_memory();
  files();
  if (marker >= 0) markers(marker);
  if (with_swap) swapped(marker);
}

int main(int argc, char **argv)
{
  guest_begin();
  if (argc > 2 && !strcmp(argv[1], "spread")) spread(strtoull(argv[2], NULL, 10));
  else all_kinds(argc > 1 && !strcmp(argv[1], "swap"));
  print_regions();
  wait_for_end();
  guest_end(",\"guest\":\"pagekinds\"%s", "");
}
