import { randomFillSync } from 'node:crypto'

/** Ids count milliseconds from here. */
const EPOCH = Date.UTC(2020, 0, 1)
const TIME_DIGITS = 9
const RANDOM_DIGITS = 6
const MAX_TIME = 32 ** TIME_DIGITS - 1
const MAX_RANDOM = 32 ** RANDOM_DIGITS - 1
/** Sorts behind every id. */
const BEHIND_ALL = 'w'

/**
 * Of messages that another server has archived before that: a sign that sorts before all digits, and
 * milliseconds from here with one digit less, which reach as far.
 */
const EARLY = '-'
const EARLY_EPOCH = Date.UTC(1990, 0, 1)

const ID = new RegExp(
  `^(?:[0-9a-v]{${TIME_DIGITS}}|${EARLY}[0-9a-v]{${TIME_DIGITS - 1}})[0-9a-v]{${RANDOM_DIGITS}}$`,
)

/** How many random numbers are fetched at once. */
const POOL = 1024

/**
 * Gives messages their ids: fixed-width texts in base 32 (digits 0-9 and a-v), the time in
 * milliseconds first, random bits behind it. They sort in the order in which they are given, tell the
 * time, never repeat, and cannot be guessed (XEP-0313 §3). Should the clock step back, they go on
 * from where they were.
 */
export class ArchiveIds {
  readonly #now: () => number
  readonly #pool = new Uint32Array(POOL)
  #taken = POOL
  #time = -1
  #prefix = ''
  #random = 0

  /** `now` in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now
  }

  next(): string {
    const time = this.#now() - EPOCH
    if (time > this.#time) this.#begin(time)
    else {
      // Steps of random length: what comes next within a millisecond is not to be guessed either.
      this.#random += 1 + (this.#draw() >>> 18)
      if (this.#random > MAX_RANDOM) this.#begin(this.#time + 1)
    }
    return this.#prefix + digits(this.#random, RANDOM_DIGITS)
  }

  /** Ids from now on sort behind this one. */
  startAbove(id: string): void {
    const time = Number.parseInt(id.slice(0, TIME_DIGITS), 32)
    if (time >= this.#time) this.#begin(time + 1)
  }

  /** The lower half of the range first, so that there is room for others in the same millisecond. */
  #begin(time: number): void {
    this.#time = time
    this.#prefix = digits(time, TIME_DIGITS)
    this.#random = this.#draw() >>> 3
  }

  #draw(): number {
    if (this.#taken === POOL) {
      randomFillSync(this.#pool)
      this.#taken = 0
    }
    return this.#pool[this.#taken++] as number
  }
}

function digits(value: number, width: number): string {
  return value.toString(32).padStart(width, '0')
}

/** Bits of the random part that tell in which order messages of one millisecond came. */
const ORDER_BITS = 13

/**
 * An id for a message that another server has archived, always the same: of those with the same time
 * (milliseconds since 1970) it sorts by `order`, below 8192. `hash`: 32 bits that hardly two have.
 */
export function idAt(at: number, order: number, hash: number): string {
  const random = order * 2 ** (5 * RANDOM_DIGITS - ORDER_BITS) + (hash >>> (2 + ORDER_BITS))
  return (boundAt(at) || boundAt(EARLY_EPOCH)) + digits(random, RANDOM_DIGITS)
}

export function isArchiveId(text: string): boolean {
  return ID.test(text)
}

/** When the message was archived, in milliseconds since 1970. */
export function timeOf(id: string): number {
  if (id.startsWith(EARLY)) return Number.parseInt(id.slice(1, TIME_DIGITS), 32) + EARLY_EPOCH
  return Number.parseInt(id.slice(0, TIME_DIGITS), 32) + EPOCH
}

/** Sorts behind that id, and before all that do. */
export function behind(id: string): string {
  return `${id}0`
}

/** Sorts before every id of that millisecond or later, and behind all earlier ones. */
export function boundAt(at: number): string {
  const time = Math.floor(at) - EPOCH
  if (time < 0) {
    const early = Math.floor(at) - EARLY_EPOCH
    return early < 0 ? '' : EARLY + digits(early, TIME_DIGITS - 1)
  }
  return time > MAX_TIME ? BEHIND_ALL : digits(time, TIME_DIGITS)
}

/** Bounds that let every id pass. */
export const ALL_IDS = { after: '', before: BEHIND_ALL } as const
