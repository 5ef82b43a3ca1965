/** When a pre-copy goes on and when it stops: for the real one, and for the forecast that plays it. */

/** So few that one more round costs more than it saves. */
export const FEW_PAGES = 48
/** Rounds shorter than this stay in memory until after the pause: writing would be the longer part of them. */
export const HOLD_PAGES_MAX = 1024
/** A round that leaves this share of what the one before left no longer shrinks. */
export const SHRINKS = 0.8
