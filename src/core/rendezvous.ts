/**
 * The one of `candidates` that serves `key`: the highest of their scores for it (rendezvous
 * hashing). When candidates come or go, only keys of those that went, or that the new ones take
 * over, are served by another.
 */
export function rendezvous<T>(
  key: string,
  candidates: readonly T[],
  nameOf: (candidate: T) => string,
): T | undefined {
  if (candidates.length < 2) return candidates[0]
  let best: T | undefined
  let highest = -1
  for (const candidate of candidates) {
    const score = mix(hash(key, hash(nameOf(candidate), SEED)))
    if (score > highest) {
      best = candidate
      highest = score
    }
  }
  return best
}

/** FNV-1a. */
const SEED = 0x811c9dc5
const PRIME = 0x01000193

function hash(text: string, seed: number): number {
  let value = seed
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), PRIME)
  return value
}

/** Spreads small differences over all bits (the last step of MurmurHash3). */
function mix(value: number): number {
  let bits = value
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
