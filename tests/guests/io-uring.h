/* As much of io_uring as the guests need. Raw syscalls: no library is to be needed. */
#ifndef GUEST_IO_URING_H
#define GUEST_IO_URING_H

#include "guest.h"
#include <linux/io_uring.h>
#include <sys/uio.h>

struct io_uring_queue {
  int fd;
  _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
  uint32_t *sq_array, sq_mask, cq_mask;
  struct io_uring_sqe *sqes;
  struct io_uring_cqe *cqes;
};

static void *io_uring_map(int fd, size_t bytes, off_t offset)
{
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  if (at == MAP_FAILED) die("mmap of the ring: %s", strerror(errno));
  return at;
}

/* False, with errno, where the kernel has none or does not permit it. */
static bool io_uring_open(struct io_uring_queue *queue, unsigned entries)
{
  struct io_uring_params params = {0};
  int fd = (int)syscall(SYS_io_uring_setup, entries, &params);
  if (fd < 0) return false;
  char *sq = io_uring_map(fd, params.sq_off.array + params.sq_entries * 4, IORING_OFF_SQ_RING);
  char *cq = io_uring_map(fd, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
  queue->sqes = io_uring_map(fd, params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  queue->sq_tail = (_Atomic uint32_t *)(sq + params.sq_off.tail);
  queue->sq_mask = *(uint32_t *)(sq + params.sq_off.ring_mask);
  queue->sq_array = (uint32_t *)(sq + params.sq_off.array);
  queue->cq_head = (_Atomic uint32_t *)(cq + params.cq_off.head);
  queue->cq_tail = (_Atomic uint32_t *)(cq + params.cq_off.tail);
  queue->cq_mask = *(uint32_t *)(cq + params.cq_off.ring_mask);
  queue->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
  queue->fd = fd;
  return true;
}

/* Puts the request where the kernel takes it at the next io_uring_enter. */
static void io_uring_queue_request(struct io_uring_queue *queue, const struct io_uring_sqe *request)
{
  uint32_t tail = atomic_load(queue->sq_tail), index = tail & queue->sq_mask;
  queue->sqes[index] = *request;
  queue->sq_array[index] = index;
  atomic_store(queue->sq_tail, tail + 1);
}

/* One request to its end. Returns what the call itself would have: a count, or an errno below zero. */
__attribute__((unused)) static int32_t io_uring_perform(struct io_uring_queue *queue, const struct io_uring_sqe *request)
{
  io_uring_queue_request(queue, request);
  if (syscall(SYS_io_uring_enter, queue->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) return -errno;
  uint32_t head = atomic_load(queue->cq_head);
  int32_t result = queue->cqes[head & queue->cq_mask].res;
  atomic_store(queue->cq_head, head + 1);
  return result;
}

#endif
