/*
 * The loop of wavefront.c, in assembly so that the reader of an image knows what each register
 * must hold. Nothing else runs between wavefront_begin and wavefront_end.
 *
 *              x86-64   arm64
 *   page       r12      x20     index of the page being written, or `pages` between two waves
 *   wave       r13      x21     what is being written
 *   struct     r14      x22     address of struct wave
 *   base       r15      x19     first byte of the region
 *   pages      rbp      x23
 *   tag        rbx      x24     struct wave.tag, never changed
 *
 * Invariant at every instruction between the labels:
 *   pages below `page` hold `wave`, pages above hold `wave - 1`, each of the two words of page
 *   `page` is either; with page == pages all hold `wave`, or all `wave - 1` (the instruction
 *   between the two increments). `published` is wave - 1, or wave when page is 0 or `pages`.
 */
#ifndef WAVEFRONT_LOOP_H
#define WAVEFRONT_LOOP_H

#include <stddef.h>
#include <stdint.h>

struct wave {
  uint64_t base, pages, page_bytes, last_offset, tag; /* 0 8 16 24 32 */
  volatile uint64_t published;                        /* 40: waves that are complete */
  uint64_t pace;                                      /* 48: idle turns after each page */
  volatile int *stop;                                 /* 56 */
  uint64_t has_avx;                                   /* 64 */
  uint64_t failed_at, found;                          /* 72 80: where and what, after a failure */
  uint64_t unused;                                    /* 88 */
  uint64_t constants[16] __attribute__((aligned(32))); /* 96: four vectors of 32 bytes */
  uint64_t status[2];                                 /* 224: the FP control word: ours, the caller's, now */
} __attribute__((aligned(32)));
_Static_assert(offsetof(struct wave, constants) == 96 && offsetof(struct wave, status) == 224, "the loop counts on it");

enum { WAVE_STOPPED = 0, WAVE_FIRST_WORD, WAVE_LAST_WORD, WAVE_VECTOR, WAVE_STACK, WAVE_TAG, WAVE_CONTROL };

/* Returns one of the above. */
extern long wavefront_loop(struct wave *wave);
extern const char wavefront_begin[], wavefront_end[];

#if defined(__x86_64__)
/* The red zone holds canaries: whoever calls something in this thread must leave 128 bytes alone. */
__asm__(
  ".text\n.globl wavefront_loop, wavefront_begin, wavefront_end\n.type wavefront_loop, @function\n"
  "wavefront_loop:\n"
  "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
  "  mov %rdi, %r14\n  mov 0(%r14), %r15\n  mov 8(%r14), %rbp\n"
  "  mov 16(%r14), %r8\n  mov 24(%r14), %r9\n  mov 32(%r14), %rbx\n"
  "  stmxcsr 228(%r14)\n  mov 228(%r14), %eax\n  or $0x6000, %eax\n  mov %eax, 224(%r14)\n  ldmxcsr 224(%r14)\n"
  "  cmpq $0, 64(%r14)\n  je 1f\n"
  "  vmovdqa 96(%r14), %ymm6\n  vmovdqa 128(%r14), %ymm7\n  vmovdqa 160(%r14), %ymm8\n  vmovdqa 192(%r14), %ymm15\n"
  "  jmp 2f\n"
  "1: movdqa 96(%r14), %xmm6\n  movdqa 128(%r14), %xmm7\n  movdqa 160(%r14), %xmm8\n  movdqa 192(%r14), %xmm15\n"
  "2: mov $-16, %rcx\n"
  "3: lea (%rbx,%rcx), %rax\n  mov %rax, (%rsp,%rcx,8)\n  inc %rcx\n  jnz 3b\n"
  "  xor %r13d, %r13d\n  mov %rbp, %r12\n"
  "wavefront_begin:\n"
  "10: inc %r13\n"
  "  xor %r12d, %r12d\n"
  "  mov %r15, %rdi\n"
  /* Reads before it writes: a lost write of ours, or a foreign one, shows one wave later. */
  "11: lea -1(%r13), %rdx\n"
  "  mov 64(%rdi), %rax\n  cmp %rdx, %rax\n  jne 81f\n"
  "  mov (%rdi,%r9), %rax\n  cmp %rdx, %rax\n  jne 82f\n"
  "  mov %r13, 64(%rdi)\n"
  "  mov %r13, (%rdi,%r9)\n"
  "  mov 48(%r14), %rcx\n  test %rcx, %rcx\n  jz 13f\n"
  "12: pause\n  dec %rcx\n  jnz 12b\n"
  "13: add %r8, %rdi\n"
  "  inc %r12\n"
  "  cmp %rbp, %r12\n  jb 11b\n"
  "  mov %r13, 40(%r14)\n"
  "  cmpq $0, 64(%r14)\n  je 20f\n"
  "  vxorps 96(%r14), %ymm6, %ymm0\n  vxorps 128(%r14), %ymm7, %ymm1\n"
  "  vxorps 160(%r14), %ymm8, %ymm2\n  vxorps 192(%r14), %ymm15, %ymm3\n"
  "  vorps %ymm0, %ymm1, %ymm0\n  vorps %ymm2, %ymm3, %ymm2\n  vorps %ymm0, %ymm2, %ymm0\n"
  "  vptest %ymm0, %ymm0\n  jnz 83f\n  jmp 21f\n"
  "20: movdqa 96(%r14), %xmm0\n  pcmpeqb %xmm6, %xmm0\n  movdqa 128(%r14), %xmm1\n  pcmpeqb %xmm7, %xmm1\n"
  "  movdqa 160(%r14), %xmm2\n  pcmpeqb %xmm8, %xmm2\n  movdqa 192(%r14), %xmm3\n  pcmpeqb %xmm15, %xmm3\n"
  "  pand %xmm1, %xmm0\n  pand %xmm2, %xmm0\n  pand %xmm3, %xmm0\n"
  "  pmovmskb %xmm0, %eax\n  cmp $0xffff, %eax\n  jne 83f\n"
  "21: mov $-16, %rcx\n"
  "22: lea (%rbx,%rcx), %rax\n  cmp %rax, (%rsp,%rcx,8)\n  jne 84f\n  inc %rcx\n  jnz 22b\n"
  "  cmp 32(%r14), %rbx\n  jne 85f\n"
  "  stmxcsr 232(%r14)\n  mov 232(%r14), %eax\n  xor 224(%r14), %eax\n  test $0xffc0, %eax\n  jnz 86f\n"
  "  mov 56(%r14), %rcx\n  cmpl $0, (%rcx)\n  je 10b\n"
  "wavefront_end:\n"
  "  xor %eax, %eax\n  jmp 90f\n"
  "81: mov $1, %edx\n  jmp 89f\n82: mov $2, %edx\n  jmp 89f\n83: mov $3, %edx\n  jmp 89f\n"
  "84: mov $4, %edx\n  jmp 89f\n85: mov $5, %edx\n  jmp 89f\n86: mov $6, %edx\n"
  "89: mov %r12, 72(%r14)\n  mov %rax, 80(%r14)\n  mov %rdx, %rax\n"
  "90: ldmxcsr 228(%r14)\n  cmpq $0, 64(%r14)\n  je 91f\n  vzeroupper\n"
  "91: pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n  ret\n"
  ".size wavefront_loop, .-wavefront_loop\n");
#elif defined(__aarch64__)
__asm__(
  ".text\n.globl wavefront_loop, wavefront_begin, wavefront_end\n.type wavefront_loop, %function\n"
  "wavefront_loop:\n"
  "  stp x19, x20, [sp, #-192]!\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
  "  stp d8, d15, [sp, #48]\n  mrs x9, fpcr\n  str x9, [sp, #80]\n"
  "  mov x22, x0\n  ldp x19, x23, [x22]\n  ldp x8, x9, [x22, #16]\n  ldr x24, [x22, #32]\n"
  "  mrs x10, fpcr\n  orr x10, x10, #0xc00000\n  msr fpcr, x10\n  str x10, [x22, #224]\n"
  "  ldr q6, [x22, #96]\n  ldr q7, [x22, #128]\n  ldr q8, [x22, #160]\n  ldr q15, [x22, #192]\n"
  "  mov x21, #0\n  mov x20, x23\n"
  /* Canaries in our own frame: below sp a signal may write as it likes here. */
  "  add x11, sp, #96\n  mov x12, #12\n"
  "3: add x10, x24, x12\n  str x10, [x11], #8\n  subs x12, x12, #1\n  b.ne 3b\n"
  "wavefront_begin:\n"
  "10: add x21, x21, #1\n"
  "  mov x20, #0\n"
  "  mov x0, x19\n"
  "11: sub x2, x21, #1\n"
  "  ldr x1, [x0, #64]\n  cmp x1, x2\n  b.ne 81f\n"
  "  ldr x1, [x0, x9]\n  cmp x1, x2\n  b.ne 82f\n"
  "  str x21, [x0, #64]\n"
  "  str x21, [x0, x9]\n"
  "  ldr x3, [x22, #48]\n  cbz x3, 13f\n"
  "12: yield\n  subs x3, x3, #1\n  b.ne 12b\n"
  "13: add x0, x0, x8\n"
  "  add x20, x20, #1\n"
  "  cmp x20, x23\n  b.lo 11b\n"
  "  str x21, [x22, #40]\n"
  "  ldr q0, [x22, #96]\n  cmeq v0.16b, v0.16b, v6.16b\n  ldr q1, [x22, #128]\n  cmeq v1.16b, v1.16b, v7.16b\n"
  "  ldr q2, [x22, #160]\n  cmeq v2.16b, v2.16b, v8.16b\n  ldr q3, [x22, #192]\n  cmeq v3.16b, v3.16b, v15.16b\n"
  "  and v0.16b, v0.16b, v1.16b\n  and v2.16b, v2.16b, v3.16b\n  and v0.16b, v0.16b, v2.16b\n"
  "  uminv b0, v0.16b\n  umov w3, v0.b[0]\n  cmp w3, #255\n  b.ne 83f\n"
  "  add x11, sp, #96\n  mov x12, #12\n"
  "22: add x10, x24, x12\n  ldr x1, [x11], #8\n  cmp x1, x10\n  b.ne 84f\n  subs x12, x12, #1\n  b.ne 22b\n"
  "  ldr x1, [x22, #32]\n  cmp x1, x24\n  b.ne 85f\n"
  "  mrs x1, fpcr\n  ldr x10, [x22, #224]\n  cmp x1, x10\n  b.ne 86f\n"
  "  ldr x3, [x22, #56]\n  ldr w3, [x3]\n  cbz w3, 10b\n"
  "wavefront_end:\n"
  "  mov x2, #0\n  b 90f\n"
  "81: mov x2, #1\n  b 89f\n82: mov x2, #2\n  b 89f\n83: mov x2, #3\n  b 89f\n"
  "84: mov x2, #4\n  b 89f\n85: mov x2, #5\n  b 89f\n86: mov x2, #6\n"
  "89: stp x20, x1, [x22, #72]\n"
  "90: mov x0, x2\n  ldr x9, [sp, #80]\n  msr fpcr, x9\n"
  "  ldp d8, d15, [sp, #48]\n  ldp x23, x24, [sp, #32]\n  ldp x21, x22, [sp, #16]\n"
  "  ldp x19, x20, [sp], #192\n  ret\n"
  ".size wavefront_loop, .-wavefront_loop\n");
#else
#error "wavefront knows x86-64 and arm64"
#endif

#endif
