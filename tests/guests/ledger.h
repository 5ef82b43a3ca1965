/*
 * The ledger: a table in memory that says what other memory holds, so that an image can be
 * checked against itself. A reader of the image skips entries in transition; a stable entry of
 * generation G says that in page i of its block
 *   the word at FIRST_WORD_OFFSET is G, the word at LAST_WORD_OFFSET is G + i;
 * generation 0 is a block of zeros. An entry is written by one thread only.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include "guest.h"

enum { LEDGER_FREE = 0, LEDGER_STABLE = 1, LEDGER_MOVING = 2 };
enum { LEDGER_READABLE = 0, LEDGER_NO_ACCESS = 1 };

struct ledger_entry {
  _Atomic uint64_t state;
  volatile uint64_t address, pages, generation, access, unused[3];
};
_Static_assert(sizeof(struct ledger_entry) == 64, "the checker counts on it");

#define LEDGER_ENTRIES 64
/* On pages of its own, so that tearing between the ledger and the blocks has a chance to show. */
static struct ledger_entry ledger[LEDGER_ENTRIES] __attribute__((aligned(4096)));

/* From here on the entry's block may be anything. */
__attribute__((unused)) static void ledger_moving(struct ledger_entry *entry)
{
  atomic_store(&entry->state, LEDGER_MOVING);
}

__attribute__((unused)) static void ledger_stable(struct ledger_entry *entry)
{
  atomic_store(&entry->state, LEDGER_STABLE);
}

__attribute__((unused)) static void ledger_free(struct ledger_entry *entry)
{
  entry->address = entry->pages = entry->generation = entry->access = 0;
  atomic_store(&entry->state, LEDGER_FREE);
}

__attribute__((unused)) static void ledger_set(struct ledger_entry *entry, void *at, size_t pages, uint64_t generation)
{
  entry->address = (uintptr_t)at;
  entry->pages = pages;
  entry->generation = generation;
  entry->access = LEDGER_READABLE;
}

__attribute__((unused)) static void fill_block(void *at, size_t from, size_t to, uint64_t generation)
{
  for (size_t i = from; i < to; i++) {
    char *page = (char *)at + i * page_bytes;
    *first_word(page) = generation;
    *last_word(page) = generation ? generation + i : 0;
  }
}

/* Says whether the block holds what its entry says. */
__attribute__((unused)) static bool block_holds(const struct ledger_entry *entry)
{
  for (size_t i = 0; i < entry->pages; i++) {
    const char *page = (const char *)(uintptr_t)entry->address + i * page_bytes;
    if (*first_word(page) != entry->generation) return false;
    if (*last_word(page) != (entry->generation ? entry->generation + i : 0)) return false;
  }
  return true;
}

__attribute__((unused)) static bool check_block(const struct ledger_entry *entry, const char *when)
{
  if (block_holds(entry)) return true;
  problem("block %#" PRIx64 " of %" PRIu64 " pages does not hold generation %" PRIu64 " %s", entry->address,
          entry->pages, entry->generation, when);
  return false;
}

__attribute__((unused)) static void print_ledger(void)
{
  printf(",\"ledger\":{\"start\":\"%p\",\"entries\":%d,\"entryBytes\":%zu}", (void *)ledger, LEDGER_ENTRIES,
         sizeof(struct ledger_entry));
}

#endif
