/*
 * The mode `rseq` of odd.c; see odd-kernel.h.
 *
 * A restartable sequence: the kernel sends the thread to the abort handler if it was preempted,
 * migrated or signalled between two labels. A tracer that changes registers inside of one, and so
 * hides from the kernel where the thread was, loses a count:
 *   1. thread A on processor 0 has loaded the counter and is stopped inside its sequence;
 *   2. the tracer moves it elsewhere to make a syscall: the kernel sees a thread that is in no sequence;
 *   3. thread B on processor 0 counts;
 *   4. the tracer moves A back: A stores its old count + 1. The sum is one too small.
 */
#ifndef ODD_RSEQ_H
#define ODD_RSEQ_H

#include "odd-ready.h"
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define HAS_RSEQ 1
#endif

#define CPUS_MAX 1024
/* Long enough inside for a stop to fall there as a rule. */
#define RSEQ_TURNS "100"

struct rseq_thread { pthread_t thread; volatile uint64_t counted, restarted; };
static struct { volatile uint64_t count; char unused[56]; } per_cpu[CPUS_MAX] __attribute__((aligned(64)));

#ifdef HAS_RSEQ
/* struct rseq: cpu_id_start at 0, cpu_id at 4, rseq_cs at 8. False: aborted, nothing was counted. */
static bool count_on(char *rseq, uint32_t cpu, volatile uint64_t *counter)
{
#if defined(__x86_64__)
  __asm__ goto(
    ".pushsection __rseq_cs, \"aw\"\n .balign 32\n 3: .long 0, 0\n .quad 1f, 2f - 1f, 4f\n .popsection\n"
    "leaq 3b(%%rip), %%rax\n movq %%rax, 8(%0)\n"
    "1: cmpl %1, 4(%0)\n jnz 4f\n"
    "movq (%2), %%rax\n movl $" RSEQ_TURNS ", %%ecx\n"
    "5: decl %%ecx\n jnz 5b\n"
    "addq $1, %%rax\n movq %%rax, (%2)\n"
    "2:\n"
    /* The kernel wants its signature before the abort handler. */
    ".pushsection __rseq_failure, \"ax\"\n .byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n 4: jmp %l[aborted]\n .popsection\n"
    : : "r"(rseq), "r"(cpu), "r"(counter) : "rax", "rcx", "memory", "cc" : aborted);
#else
  __asm__ goto(
    ".pushsection __rseq_cs, \"aw\"\n .balign 32\n 3: .long 0, 0\n .quad 1f, 2f - 1f, 4f\n .popsection\n"
    "adrp x9, 3b\n add x9, x9, :lo12:3b\n str x9, [%0, #8]\n"
    "1: ldr w10, [%0, #4]\n cmp w10, %w1\n b.ne 4f\n"
    "ldr x9, [%2]\n mov w10, #" RSEQ_TURNS "\n"
    "5: subs w10, w10, #1\n b.ne 5b\n"
    "add x9, x9, #1\n str x9, [%2]\n"
    "2: b 6f\n .inst 0xd428bc00\n 4: b %l[aborted]\n 6:\n"
    : : "r"(rseq), "r"(cpu), "r"(counter) : "x9", "x10", "memory", "cc" : aborted);
#endif
  return true;
aborted:
  return false;
}

static void *count_in_sequences(void *argument)
{
  struct rseq_thread *self = argument;
  char *rseq = (char *)__builtin_thread_pointer() + __rseq_offset;
  while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
    uint32_t cpu = *(volatile uint32_t *)rseq;
    if (cpu >= CPUS_MAX) { problem("processor %u", cpu); break; }
    if (count_on(rseq, cpu, &per_cpu[cpu].count)) self->counted++;
    else self->restarted++;
  }
  return NULL;
}

static void rseq_counters(uint64_t number)
{
  if (!__rseq_size) skip("the C library has registered no restartable sequences");
  struct rseq_thread *threads = calloc(number, sizeof *threads);
  for (uint64_t i = 0; i < number; i++) start_thread(&threads[i].thread, count_in_sequences, &threads[i]);
  odd_ready(",\"threads\":%" PRIu64, number + 1);
  wait_for_end();
  uint64_t counted = 0, restarted = 0, sum = 0;
  for (uint64_t i = 0; i < number; i++) {
    pthread_join(threads[i].thread, NULL);
    counted += threads[i].counted;
    restarted += threads[i].restarted;
  }
  for (size_t cpu = 0; cpu < CPUS_MAX; cpu++) sum += per_cpu[cpu].count;
  if (sum != counted) problem("%" PRIu64 " were counted and the sum is %" PRIu64, counted, sum);
  if (!counted) problem("nothing was counted in %" PRIu64 " tries", restarted);
  odd_end("restarted", restarted);
}
#else
static void rseq_counters(uint64_t number)
{
  (void)number;
  skip("the C library knows no restartable sequences");
}
#endif

#endif
