/*
 * Writes that other tasks make, and writes beside them:
 *   child      a forked child writes: a private copy of its own, shared memory for all
 *   vchild     a vforked child writes, in this very memory
 *   vmwrite, procmem, poke      a child writes this process's memory: process_vm_writev, /proc/PID/mem, ptrace
 *   fork, join                  a child that only holds a copy, from the one to the other
 *   spin NAME THREADS, halt     threads write all pages of the region at random
 *   signal NAME                 a signal is delivered on an alternate stack in the region
 */
#ifndef SCRIBE_TASKS_H
#define SCRIBE_TASKS_H

#include "scribe-remaps.h"
#include <sys/ptrace.h>

#define SPINNERS_MAX 8

static pid_t bystander;
static struct { atomic_bool halted; size_t count; pthread_t threads[SPINNERS_MAX]; } spinning;
static volatile uintptr_t frame_low;

/* Runs it in a child. Its errno is the exit code. */
static int in_child(int (*body)(pid_t parent, struct region *region, size_t first, size_t count), struct region *region, size_t first, size_t count)
{
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body(parent, region, first, count));
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) die("a child ended with status %#x: %s", status, strerror(errno));
  return WEXITSTATUS(status);
}

static int write_here(pid_t parent, struct region *region, size_t first, size_t count)
{
  (void)parent;
  write_words(region, first, count);
  return 0;
}

static bool do_child(struct region *region, size_t first, size_t count)
{
  in_child(write_here, region, first, count);
  if (!region->object || !region->shared) return true;
  for (size_t i = first; i < first + count; i++) object_changed(region->object, i, ++last_version, false);
  /* The child drew the same numbers: words of its own keep contents apart. */
  return true;
}

static bool do_vchild(struct region *region, size_t first, size_t count)
{
  pid_t pid = vfork();
  if (pid == 0) {
    write_words(region, first, count);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, NULL, 0) != pid) die("vfork: %s", strerror(errno));
  return true;
}

static int write_by_vm(pid_t parent, struct region *region, size_t first, size_t count)
{
  size_t bytes = count * page_bytes;
  char *source = map_pages(count, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill_words(source, bytes);
  struct iovec local = {source, bytes}, remote = {page_at(region, first), bytes};
  return process_vm_writev(parent, &local, 1, &remote, 1, 0) == (ssize_t)bytes ? 0 : errno;
}

static int write_by_mem(pid_t parent, struct region *region, size_t first, size_t count)
{
  char name[64], *source = map_pages(count, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill_words(source, count * page_bytes);
  snprintf(name, sizeof name, "/proc/%d/mem", (int)parent);
  int fd = open(name, O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t bytes = (ssize_t)(count * page_bytes);
  return pwrite(fd, source, (size_t)bytes, (off_t)(uintptr_t)page_at(region, first)) == bytes ? 0 : errno;
}

static int write_by_poke(pid_t parent, struct region *region, size_t first, size_t count)
{
  int status, problem = 0;
  uint64_t word[1];
  if (ptrace(PTRACE_SEIZE, parent, 0, 0)) return errno;
  if (ptrace(PTRACE_INTERRUPT, parent, 0, 0) || waitpid(parent, &status, __WALL) != parent) return errno;
  for (size_t i = first; i < first + count && !problem; i++) {
    fill_words(word, sizeof word);
    if (ptrace(PTRACE_POKEDATA, parent, page_at(region, i) + FIRST_WORD_OFFSET, word[0])) problem = errno;
  }
  ptrace(PTRACE_DETACH, parent, 0, 0);
  return problem;
}

typedef int (*foreign_write)(pid_t parent, struct region *region, size_t first, size_t count);

/* A write that the kernel refused is told by its name, and counts as none: it fails whole, at the first page. */
static bool write_from_outside(foreign_write body, struct region *region, size_t first, size_t count)
{
  int error = in_child(body, region, first, count);
  /* What the child filled from is what the next command must not repeat. */
  char skipped[64];
  for (size_t i = 0; i < count * page_bytes; i += sizeof skipped) fill_words(skipped, sizeof skipped);
  if (error) return answer(",\"errno\":\"%s\"", error == EIO ? "EIO" : strerror(error)), true;
  pages_written(region, first, count);
  return true;
}

static bool do_vmwrite(struct region *region, size_t first, size_t count) { return write_from_outside(write_by_vm, region, first, count); }
static bool do_procmem(struct region *region, size_t first, size_t count) { return write_from_outside(write_by_mem, region, first, count); }
static bool do_poke(struct region *region, size_t first, size_t count) { return write_from_outside(write_by_poke, region, first, count); }

static bool command_fork(char **words)
{
  (void)words;
  errno = EEXIST;
  if (bystander) return refuse("fork");
  bystander = fork();
  if (bystander < 0) return bystander = 0, refuse("fork");
  if (bystander) return true;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* The guest's last line must not wait for the child's end. */
  for (int fd = 0; fd < 3; fd++) close(fd);
  for (;;) pause();
}

static bool command_join(char **words)
{
  (void)words;
  if (!bystander) return true;
  kill(bystander, SIGKILL);
  waitpid(bystander, NULL, 0);
  bystander = 0;
  return true;
}

static void *spin(void *argument)
{
  uint64_t state = (uintptr_t)argument, turn = 0;
  while (!atomic_load(&spinning.halted)) {
    uint64_t random = next_random(&state);
    char *page = page_at(spun, random % spun->pages);
    *first_word(page) = *last_word(page) = random;
    /* Two cores serve everybody. */
    if (++turn % 256 == 0) sleep_ns(200000);
  }
  return NULL;
}

static bool command_spin(char **words)
{
  struct region *region = find_region(words[0]);
  size_t count = strtoul(words[1], NULL, 10);
  errno = EINVAL;
  if (!region || spun || !count || count > SPINNERS_MAX || !within(region, 0, region->pages)) return refuse("spin");
  spun = region;
  spinning.count = count;
  atomic_store(&spinning.halted, false);
  /* Far apart: a value that comes twice to the same page would look unwritten to whoever compares. */
  for (size_t i = 0; i < count; i++) start_thread(&spinning.threads[i], spin, (void *)(uintptr_t)(last_version + ((i + 1) << 40)));
  return true;
}

/* Which pages they wrote nobody knows: the region counts again from the next mark on. */
static bool command_halt(char **words)
{
  (void)words;
  if (!spun) return true;
  atomic_store(&spinning.halted, true);
  for (size_t i = 0; i < spinning.count; i++) pthread_join(spinning.threads[i], NULL);
  pages_written(spun, 0, spun->pages);
  for (struct region *region = regions; region < regions + REGIONS_MAX; region++) region->restless |= is_spun(region);
  spun = NULL;
  return true;
}

static void take_signal(int number, siginfo_t *info, void *context)
{
  (void)number;
  (void)info;
  frame_low = (uintptr_t)context;
}

/* Certain is the page of the saved context; the frame around it may be longer. */
static bool command_signal(char **words)
{
  struct region *region = find_region(words[0]);
  errno = ENOENT;
  if (!region || !within(region, 0, region->pages)) return refuse("signal");
  stack_t stack = {.ss_sp = region->start, .ss_size = region->pages * page_bytes}, none = {.ss_flags = SS_DISABLE};
  struct sigaction action = {.sa_sigaction = take_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL)) return refuse("sigaltstack");
  raise(SIGUSR1);
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  sigaltstack(&none, NULL);
  page_written(region, (frame_low - (uintptr_t)region->start) / page_bytes);
  return true;
}

#endif
