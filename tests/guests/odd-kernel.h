/*
 * Modes of odd.c that use what few programs use:
 *   own-uffd N  a userfaultfd of its own on N pages: the first half stays filled, the second is
 *               filled on demand and discarded again. Nobody may read a missing page there while
 *               the process is stopped: the reader would wait for the process.
 *   dstate      a thread in uninterruptible sleep until "release": by process_vm_readv it reads a
 *               page of its own that its userfaultfd does not fill
 *   pinned N    N io_uring reads at a time into a registered (pinned) buffer: the kernel writes
 *               without any page table saying so. Half of them by an io worker thread.
 *   rseq N      N threads count per processor in restartable sequences and check the sum
 */
#ifndef ODD_KERNEL_H
#define ODD_KERNEL_H

#include "odd-ready.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static struct { int fd; char *at; uint64_t pages, generation; char *draft; volatile uint64_t faults, passes; } uffd;

static void open_uffd(uint64_t pages)
{
  /* Only a nonblocking one can be polled. */
  uffd.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  /* Without privilege only faults of user mode can be had; dstate says so below. */
  if (uffd.fd < 0 && errno == EPERM) uffd.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  if (uffd.fd < 0) skip(errno == ENOSYS ? "this kernel has no userfaultfd" : "userfaultfd is not permitted");
  struct uffdio_api api = {.api = UFFD_API};
  if (ioctl(uffd.fd, UFFDIO_API, &api)) die("UFFDIO_API: %s", strerror(errno));
  uffd.pages = pages;
  uffd.generation = 37;
  uffd.at = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  (void)madvise(uffd.at, pages * page_bytes, MADV_NOHUGEPAGE);
  uffd.draft = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill_block(uffd.draft, 0, pages, uffd.generation);
  struct uffdio_register reg = {.range = {(uintptr_t)uffd.at, pages * page_bytes}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (ioctl(uffd.fd, UFFDIO_REGISTER, &reg)) die("UFFDIO_REGISTER: %s", strerror(errno));
}

static void fill_missing(uint64_t address)
{
  uint64_t offset = (address - (uintptr_t)uffd.at) & ~(uint64_t)(page_bytes - 1);
  struct uffdio_copy copy = {.dst = (uintptr_t)uffd.at + offset, .src = (uintptr_t)uffd.draft + offset, .len = page_bytes};
  /* EEXIST: somebody else's read has filled it already. */
  while (ioctl(uffd.fd, UFFDIO_COPY, &copy) && errno != EEXIST)
    if (errno != EAGAIN) { problem("UFFDIO_COPY: %s", strerror(errno)); return; }
}

static void *serve_faults(void *argument)
{
  while (!atomic_load(&stopping)) {
    struct pollfd fd = {.fd = uffd.fd, .events = POLLIN};
    int ready = poll(&fd, 1, 50);
    if (ready < 0) problem("poll of the userfaultfd: %s", strerror(errno));
    if (ready <= 0) continue;
    struct uffd_msg message;
    ssize_t count = read(uffd.fd, &message, sizeof message);
    /* The page was filled by somebody else between the poll and now. */
    if (count < 0 && errno == EAGAIN) continue;
    if (count != sizeof message) { problem("read of the userfaultfd: %s", strerror(errno)); break; }
    if (message.event != UFFD_EVENT_PAGEFAULT) { problem("userfaultfd event %d", message.event); break; }
    uffd.faults++;
    fill_missing(message.arg.pagefault.address);
  }
  return argument;
}

static void *touch_and_discard(void *argument)
{
  char *half = uffd.at + uffd.pages / 2 * page_bytes;
  struct ledger_entry whole = {.address = (uintptr_t)uffd.at, .pages = uffd.pages, .generation = uffd.generation};
  while (!atomic_load(&stopping)) {
    if (!check_block(&whole, "filled by the userfaultfd")) break;
    if (madvise(half, uffd.pages / 2 * page_bytes, MADV_DONTNEED)) problem("madvise: %s", strerror(errno));
    uffd.passes++;
    sleep_ns(2000000);
  }
  return argument;
}

static void own_uffd(uint64_t pages)
{
  pthread_t server, toucher;
  open_uffd(pages);
  start_thread(&server, serve_faults, NULL);
  for (uint64_t i = 0; i < pages / 2; i++) (void)*first_word(uffd.at + i * page_bytes);
  /* Filled as it should be already, so this writes what is there. */
  add_block("filled", uffd.at, pages / 2, uffd.generation);
  start_thread(&toucher, touch_and_discard, NULL);
  odd_ready(",\"uffd\":{\"start\":\"%p\",\"pages\":%" PRIu64 "}", (void *)uffd.at, pages);
  char line[64];
  while (guest_line(line, sizeof line)) { }
  /* The toucher needs the server to the end of its pass. */
  uint64_t passes = uffd.passes;
  while (uffd.passes < passes + 2 && !atomic_load(&problem_state)) sleep_ns(1000000);
  for (uint64_t i = 0; i < pages; i++) fill_missing((uintptr_t)uffd.at + i * page_bytes);
  atomic_store(&stopping, 1);
  for (uint64_t i = 0; i < pages; i++) fill_missing((uintptr_t)uffd.at + i * page_bytes);
  pthread_join(server, NULL);
  pthread_join(toucher, NULL);
  odd_end("faults", uffd.faults);
}

static volatile pid_t dstate_tid;

static void *read_own_memory(void *argument)
{
  uint64_t word = 0;
  struct iovec to = {&word, 8}, from = {uffd.at + FIRST_WORD_OFFSET, 8};
  dstate_tid = thread_id();
  /* A fault of our own would sleep interruptibly, and a read of /proc/self/mem would fail by EIO. */
  ssize_t count = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
  if (count != 8 || word != uffd.generation) problem("process_vm_readv gave %zd and %" PRIu64 ": %s", count, word, strerror(errno));
  return argument;
}

static char state_of(pid_t tid)
{
  char name[64], text[256] = "";
  snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
  const char *end = count > 0 ? strrchr(text, ')') : NULL;
  return end ? end[2] : '?';
}

static void dstate(uint64_t number)
{
  (void)number;
  pthread_t thread;
  open_uffd(1);
  start_thread(&thread, read_own_memory, NULL);
  for (int turn = 0; !dstate_tid || state_of(dstate_tid) != 'D'; turn++) {
    if (turn == 2000) skip("this kernel does not sleep uninterruptibly in a userfault of process_vm_readv");
    sleep_ns(1000000);
  }
  start_beat();
  odd_ready(",\"blockedTid\":%d,\"uffd\":{\"start\":\"%p\",\"pages\":1}", dstate_tid, (void *)uffd.at);
  bool asked = await_release();
  fill_missing((uintptr_t)uffd.at);
  pthread_join(thread, NULL);
  answer_release(asked);
  if (asked) wait_for_end();
  odd_end("released", asked);
}

#include "odd-io-uring.h"
#include "odd-rseq.h"

#endif
