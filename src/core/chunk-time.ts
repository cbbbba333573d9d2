/**
 * Chunks of input are dealt with at once: what is in one has come together. So the time need be asked only once for
 * all of it, which for a stanza costs as much as finding its recipient.
 */

/** Counts chunks while one is dealt with; 0 between them. */
let current = 0
let chunks = 0

/** To be told before a chunk is dealt with, and after that, whatever came of it. */
export function chunkBegins(): void {
  current = ++chunks
}

export function chunkEnds(): void {
  current = 0
}

/** `now`, asked once for each chunk; between chunks, each time. */
export function oncePerChunk(now: () => number): () => number {
  let asked = 0
  let time = 0
  return () => {
    if (current === 0) return now()
    if (asked !== current) {
      asked = current
      time = now()
    }
    return time
  }
}

/** Milliseconds since the epoch. */
export const chunkTime = oncePerChunk(Date.now)
