/*
 * warm MIB
 *
 * Touches that much memory and gives it back. A virtual machine's host takes free memory away
 * after a second or two, and the next to touch it waits for the host: ten times as long as the
 * copy that is to be measured. So every tool's run is preceded by this one.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
  if (argc != 2) { fprintf(stderr, "usage: warm MIB\n"); return 2; }
  size_t bytes = strtoul(argv[1], NULL, 10) << 20;
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) { perror("warm"); return 1; }
  madvise(memory, bytes, MADV_HUGEPAGE);
  for (size_t at = 0; at < bytes; at += 4096) ((volatile char *)memory)[at] = 1;
  return 0;
}
