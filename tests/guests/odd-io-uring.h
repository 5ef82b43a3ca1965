/* The mode `pinned` of odd.c; see odd-kernel.h. */
#ifndef ODD_IO_URING_H
#define ODD_IO_URING_H

#include "odd-ready.h"
#include "io-uring.h"

#define SLOT_PAGES 8
#define RING_ENTRIES 64

static struct io_uring_queue queue;
static struct {
  int file;
  char *buffer, *draft;
  uint64_t slots, generation, reads;
} ring;

static void pin_buffer(void)
{
  uint64_t pages = ring.slots * SLOT_PAGES;
  ring.buffer = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ring.draft = map_pages(SLOT_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ring.file = memfd_create("pinned", MFD_CLOEXEC);
  if (ring.file < 0 || ftruncate(ring.file, (off_t)(pages * page_bytes))) die("memfd: %s", strerror(errno));
  struct iovec whole = {ring.buffer, pages * page_bytes};
  if (syscall(SYS_io_uring_register, queue.fd, IORING_REGISTER_BUFFERS, &whole, 1)) {
    if (errno == ENOMEM) skip("RLIMIT_MEMLOCK does not allow a registered buffer");
    die("IORING_REGISTER_BUFFERS: %s", strerror(errno));
  }
  for (uint64_t slot = 0; slot < ring.slots; slot++) {
    ledger_set(&ledger[slot], ring.buffer + slot * SLOT_PAGES * page_bytes, SLOT_PAGES, 0);
    ledger_stable(&ledger[slot]);
  }
}

/* The slot is in transition from before the request until after its completion. */
static void submit_read(uint64_t slot)
{
  size_t bytes = SLOT_PAGES * page_bytes;
  uint64_t generation = ++ring.generation;
  fill_block(ring.draft, 0, SLOT_PAGES, generation);
  if (pwrite(ring.file, ring.draft, bytes, (off_t)(slot * bytes)) != (ssize_t)bytes) problem("pwrite: %s", strerror(errno));
  ledger_moving(&ledger[slot]);
  ledger[slot].generation = generation;
  struct io_uring_sqe request = {
    .opcode = IORING_OP_READ_FIXED, .fd = ring.file, .off = slot * bytes, .len = (uint32_t)bytes, .user_data = slot,
    .addr = (uintptr_t)ring.buffer + slot * bytes, .flags = slot % 2 ? IOSQE_ASYNC : 0};
  io_uring_queue_request(&queue, &request);
}

static void take_completions(void)
{
  for (uint32_t head = atomic_load(queue.cq_head); head != atomic_load(queue.cq_tail); atomic_store(queue.cq_head, ++head)) {
    const struct io_uring_cqe *done = &queue.cqes[head & queue.cq_mask];
    if (done->res != (int32_t)(SLOT_PAGES * page_bytes)) problem("a read of slot %llu gave %d", done->user_data, done->res);
    ledger_stable(&ledger[done->user_data]);
    check_block(&ledger[done->user_data], "after a read into the pinned buffer");
    ring.reads++;
  }
}

static void *read_pinned(void *argument)
{
  while (!atomic_load(&stopping)) {
    uint64_t until = ring.reads + ring.slots;
    unsigned waiting = (unsigned)ring.slots;
    for (uint64_t slot = 0; slot < ring.slots; slot++) submit_read(slot);
    while (ring.reads < until && !atomic_load(&problem_state)) {
      long result = syscall(SYS_io_uring_enter, queue.fd, waiting, (unsigned)(until - ring.reads), IORING_ENTER_GETEVENTS, NULL, 0);
      if (result < 0) problem("io_uring_enter: %s", strerror(errno));
      waiting = 0;
      take_completions();
    }
    sleep_ns(1000000);
  }
  return argument;
}

static void pinned(uint64_t slots)
{
  ring.slots = slots && slots <= 32 ? slots : 8;
  if (!io_uring_open(&queue, RING_ENTRIES)) skip(errno == ENOSYS ? "this kernel has no io_uring" : "io_uring is not permitted");
  pin_buffer();
  start_beat();
  pthread_t reader;
  start_thread(&reader, read_pinned, NULL);
  odd_ready(",\"reserved\":{\"start\":\"%p\",\"pages\":%" PRIu64 "}", (void *)ring.buffer, ring.slots * SLOT_PAGES);
  wait_for_end();
  pthread_join(reader, NULL);
  odd_end("reads", ring.reads);
}

#endif
