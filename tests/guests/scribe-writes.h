/*
 * The ways by which scribe writes, each to pages FIRST to FIRST+COUNT of a region:
 *   write   a word at both ends of each page        span NAME BYTE LENGTH   bytes, not at a page's edge
 *   atomic  fetch_add                               same    the same words in every page
 *   read, readv, direct, ring, ringfixed            the kernel writes: a pipe, scattered, O_DIRECT, io_uring; the last into a
 *                                                   buffer that `pin NAME` registered
 *   peek    only reads
 */
#ifndef SCRIBE_WRITES_H
#define SCRIBE_WRITES_H

#include "scribe-regions.h"
#include "io-uring.h"

static struct io_uring_queue ring;
static struct region *pinned;

/* Written by threads at this time. */
static struct region *spun;

static bool is_spun(const struct region *region)
{
  return spun && (region == spun || (spun->object && region->live && region->object == spun->object));
}

static bool touchable(const struct region *region, size_t page) { return !region->hole[page] && !region->barred[page]; }

/* Whether the command's pages lie in the region and can be touched; else says so. */
static bool within(const struct region *region, size_t first, size_t count)
{
  errno = ERANGE;
  if (!count || first + count > region->pages) return refuse("pages");
  errno = EFAULT;
  for (size_t i = first; i < first + count; i++) if (!touchable(region, i)) return refuse("pages");
  return true;
}

static void pages_written(struct region *region, size_t first, size_t count)
{
  for (size_t i = first; i < first + count; i++) page_written(region, i);
}

static void write_words(struct region *region, size_t first, size_t count)
{
  for (size_t i = first; i < first + count; i++) {
    page_written(region, i);
    *first_word(page_at(region, i)) = *last_word(page_at(region, i)) = mix(last_version);
  }
}

static bool do_write(struct region *region, size_t first, size_t count)
{
  write_words(region, first, count);
  return true;
}

static bool do_same(struct region *region, size_t first, size_t count)
{
  uint64_t word = mix(++last_version);
  for (size_t i = first; i < first + count; i++) {
    page_written(region, i);
    for (size_t at = 0; at < page_bytes; at += 8) memcpy(page_at(region, i) + at, &word, 8);
  }
  return true;
}

static bool do_atomic(struct region *region, size_t first, size_t count)
{
  for (size_t i = first; i < first + count; i++) {
    page_written(region, i);
    atomic_fetch_add((_Atomic uint64_t *)(void *)(page_at(region, i) + FIRST_WORD_OFFSET), mix(last_version) | 1);
  }
  return true;
}

static bool do_peek(struct region *region, size_t first, size_t count)
{
  uint64_t sum = 0;
  for (size_t i = first; i < first + count; i++) sum += *first_word(page_at(region, i));
  (void)sum;
  return true;
}

/* BYTE and LENGTH are such that at least 8 bytes of each touched page change. */
static bool command_span(char **words)
{
  struct region *region = find_region(words[0]);
  size_t byte = strtoul(words[1], NULL, 10), length = strtoul(words[2], NULL, 10);
  size_t first = byte / page_bytes, count = length ? (byte + length - 1) / page_bytes - first + 1 : 0;
  errno = ENOENT;
  if (!region) return refuse("span");
  if (!within(region, first, count)) return false;
  char *bytes = malloc(length);
  if (!bytes) die("malloc of %zu bytes", length);
  fill_words(bytes, length);
  memcpy(region->start + byte, bytes, length / 8 * 8);
  free(bytes);
  pages_written(region, first, count);
  return true;
}

/* Through a pipe, a page at a time, or 16 that lie crosswise. */
static bool read_pages(struct region *region, size_t first, size_t count, size_t at_once)
{
  static char source[16 * 65536];
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) || fcntl(ends[1], F_SETPIPE_SZ, 16 * page_bytes) < 0) die("pipe: %s", strerror(errno));
  for (size_t done = 0; done < count; done += at_once) {
    struct iovec parts[16];
    size_t pages = count - done < at_once ? count - done : at_once;
    fill_words(source, pages * page_bytes);
    for (size_t i = 0; i < pages; i++) parts[i] = (struct iovec){page_at(region, first + done + pages - 1 - i), page_bytes};
    ssize_t bytes = (ssize_t)(pages * page_bytes);
    if (write(ends[1], source, (size_t)bytes) != bytes) die("write to a pipe: %s", strerror(errno));
    ssize_t got = at_once == 1 ? read(ends[0], parts[0].iov_base, page_bytes) : readv(ends[0], parts, (int)pages);
    if (got != bytes) return close(ends[0]), close(ends[1]), refuse("read");
  }
  close(ends[0]);
  close(ends[1]);
  pages_written(region, first, count);
  return true;
}

static bool do_read(struct region *region, size_t first, size_t count) { return read_pages(region, first, count, 1); }
static bool do_readv(struct region *region, size_t first, size_t count) { return read_pages(region, first, count, 16); }

static bool do_direct(struct region *region, size_t first, size_t count)
{
  int fd = make_file(count, O_DIRECT);
  if (fd < 0) return unavailable("O_DIRECT is not possible in the temporary folder");
  ssize_t bytes = (ssize_t)(count * page_bytes), got = pread(fd, page_at(region, first), (size_t)bytes, 0);
  close(fd);
  if (got != bytes) return refuse("read with O_DIRECT");
  pages_written(region, first, count);
  return true;
}

static bool open_ring(void)
{
  return ring.fd > 0 || io_uring_open(&ring, 8) || unavailable(errno == ENOSYS ? "this kernel has no io_uring" : "io_uring is not permitted");
}

static bool ring_read(struct region *region, size_t first, size_t count, uint8_t operation)
{
  size_t bytes = count * page_bytes;
  if (!open_ring()) return false;
  int fd = make_file(count, 0);
  if (fd < 0) return refuse("file");
  struct io_uring_sqe entry = {.opcode = operation, .fd = fd, .len = (uint32_t)bytes, .addr = (uintptr_t)page_at(region, first)};
  int32_t result = io_uring_perform(&ring, &entry);
  close(fd);
  errno = result < 0 ? -result : EIO;
  return result == (int32_t)bytes || refuse("read by io_uring");
}

static bool do_ring(struct region *region, size_t first, size_t count)
{
  if (!ring_read(region, first, count, IORING_OP_READ)) return false;
  pages_written(region, first, count);
  return true;
}

/* The kernel took the pages when they were registered: its writes pass by the page table. */
static bool do_ringfixed(struct region *region, size_t first, size_t count)
{
  errno = EINVAL;
  if (region != pinned) return refuse("ringfixed: not pinned");
  if (!ring_read(region, first, count, IORING_OP_READ_FIXED)) return false;
  for (size_t i = first; i < first + count; i++) {
    uint8_t known = region->known[i];
    page_written(region, i);
    region->known[i] = known;
  }
  return true;
}

static bool command_pin(char **words)
{
  struct region *region = find_region(words[0]);
  errno = ENOENT;
  if (!region) return refuse("pin");
  if (!open_ring()) return false;
  if (pinned && syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0)) return refuse("unpin");
  pinned = NULL;
  struct iovec whole = {region->start, region->pages * page_bytes};
  if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &whole, 1))
    return errno == ENOMEM ? unavailable("RLIMIT_MEMLOCK does not allow a registered buffer") : refuse("pin");
  pinned = region;
  return true;
}

static bool command_unpin(char **words)
{
  (void)words;
  if (pinned && syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0)) return refuse("unpin");
  pinned = NULL;
  return true;
}

#endif
