/* The mode `pinned` of odd.c; see odd-kernel.h. Raw syscalls: no library is to be needed. */
#ifndef ODD_IO_URING_H
#define ODD_IO_URING_H

#include "odd-ready.h"
#include <linux/io_uring.h>
#include <sys/uio.h>

#define SLOT_PAGES 8
#define RING_ENTRIES 64

static struct {
  int fd, file;
  _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
  uint32_t *sq_array, sq_mask, cq_mask;
  struct io_uring_sqe *sqes;
  struct io_uring_cqe *cqes;
  char *buffer, *draft;
  uint64_t slots, generation, reads;
} ring;

static void *map_ring(size_t bytes, off_t offset)
{
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);
  if (at == MAP_FAILED) die("mmap of the ring: %s", strerror(errno));
  return at;
}

static void open_ring(void)
{
  struct io_uring_params params = {0};
  ring.fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
  if (ring.fd < 0) skip(errno == ENOSYS ? "this kernel has no io_uring" : "io_uring is not permitted");
  char *sq = map_ring(params.sq_off.array + params.sq_entries * 4, IORING_OFF_SQ_RING);
  char *cq = map_ring(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
  ring.sqes = map_ring(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  ring.sq_tail = (_Atomic uint32_t *)(sq + params.sq_off.tail);
  ring.sq_mask = *(uint32_t *)(sq + params.sq_off.ring_mask);
  ring.sq_array = (uint32_t *)(sq + params.sq_off.array);
  ring.cq_head = (_Atomic uint32_t *)(cq + params.cq_off.head);
  ring.cq_tail = (_Atomic uint32_t *)(cq + params.cq_off.tail);
  ring.cq_mask = *(uint32_t *)(cq + params.cq_off.ring_mask);
  ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

static void pin_buffer(void)
{
  uint64_t pages = ring.slots * SLOT_PAGES;
  ring.buffer = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ring.draft = map_pages(SLOT_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ring.file = memfd_create("pinned", MFD_CLOEXEC);
  if (ring.file < 0 || ftruncate(ring.file, (off_t)(pages * page_bytes))) die("memfd: %s", strerror(errno));
  struct iovec whole = {ring.buffer, pages * page_bytes};
  if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &whole, 1)) {
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
  uint32_t tail = atomic_load(ring.sq_tail), index = tail & ring.sq_mask;
  ring.sqes[index] = (struct io_uring_sqe){
    .opcode = IORING_OP_READ_FIXED, .fd = ring.file, .off = slot * bytes, .len = (uint32_t)bytes, .user_data = slot,
    .addr = (uintptr_t)ring.buffer + slot * bytes, .flags = slot % 2 ? IOSQE_ASYNC : 0};
  ring.sq_array[index] = index;
  atomic_store(ring.sq_tail, tail + 1);
}

static void take_completions(void)
{
  for (uint32_t head = atomic_load(ring.cq_head); head != atomic_load(ring.cq_tail); atomic_store(ring.cq_head, ++head)) {
    const struct io_uring_cqe *done = &ring.cqes[head & ring.cq_mask];
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
      long result = syscall(SYS_io_uring_enter, ring.fd, waiting, (unsigned)(until - ring.reads), IORING_ENTER_GETEVENTS, NULL, 0);
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
  open_ring();
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
